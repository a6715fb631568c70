/** `mqtt`: telemetry in, by the broker of the gateway or from one elsewhere. */
import { z } from 'zod';
import {
  choice,
  flag,
  host,
  keyNotes,
  line,
  name,
  partitionKey,
  path,
  port,
  secret,
  size,
  topicFilter,
  url,
  username,
  whole,
} from './leaves.ts';
import { user } from './users.ts';

const MiB = 2 ** 20;

const route = z.strictObject({
  topic: topicFilter().describe('Topic filter, with + for one level and # for the rest.'),
  stream: name().describe('The stream that the messages are appended to.'),
  partitionKey: partitionKey()
    .default('{topic}')
    .describe(
      'The key that keeps records in order and picks the shard: text with {topic}, {topic[1]} (a level, from 0), {clientId} or {payload.device.id} (a field). One that finds nothing falls back to the topic.',
    ),
  decoder: choice(['json', 'cbor', 'text', 'binary'])
    .default('json')
    .describe(
      'What the payloads are: json, cbor (stored as JSON), text (UTF-8) or binary. One that is something else is counted and stored as it came, under the same key unless that needs the payload; an envelope has it in base64, and says why under "undecodable".',
    ),
  envelope: flag()
    .default(false)
    .describe('Wraps each record: {"topic": …, "receivedAt": …, "payload": …}.'),
  retained: flag()
    .default(true)
    .describe('Whether messages that ask to be retained are stored, as any other.'),
  wills: flag()
    .default(true)
    .describe(
      'Whether wills are stored: what a device wants said when it goes away without a word.',
    ),
});

const mqttUser = user.extend({
  publish: permittedTopics('plant/{clientId}/#').describe(
    'What it may publish to. {username} and {clientId} stand for its own names. Elsewhere, its connection ends.',
  ),
  subscribe: permittedTopics('commands/{username}/+').describe('What it may subscribe to.'),
});

function permittedTopics(example: string) {
  return z
    .array(topicFilter())
    .max(1000)
    .register(keyNotes, { allowed: 'a list of topic filters', example: [example] })
    .default(['#']);
}

const rates = z.strictObject({
  messagesPerSecond: whole(1, 10_000_000)
    .nullable()
    .default(null)
    .describe('Messages; null: as many as are taken.'),
  bytesPerSecond: size(1024)
    .nullable()
    .default(null)
    .describe('Bytes; null: as many as are taken.'),
});

const externalMqtt = z.strictObject({
  url: url(['mqtt', 'mqtts'])
    .register(keyNotes, {
      allowed: 'a URL that begins with mqtt:// or mqtts://',
      example: 'mqtts://broker.example.net:8883',
    })
    .nullable()
    .default(null)
    .describe('Takes the messages of a broker elsewhere; null: devices publish to the gateway.'),
  version: choice(['3.1.1', '5']).default('3.1.1').describe('The MQTT that it speaks: 3.1.1 or 5.'),
  clientId: line(128, 'a text of 1 to 128 characters')
    .register(keyNotes, { allowed: 'a text of 1 to 128 characters', example: 'gateway-7' })
    .nullable()
    .default(null)
    .describe(
      'Names the session that the broker keeps for the gateway, and no other client may have it; null: one of its own.',
    ),
  username: username()
    .register(keyNotes, { allowed: 'a user name', example: 'gateway' })
    .nullable()
    .default(null)
    .describe('Its user there; null: none.'),
  password: secret()
    .register(keyNotes, {
      allowed: 'a password',
      secret: true,
      example: '${BROKER_PASSWORD:-change-me}',
    })
    .nullable()
    .default(null)
    .describe('Its password; null: none.'),
  caFile: path('a file')
    .register(keyNotes, { allowed: 'a file', path: true, example: '/etc/headgate/broker-ca.pem' })
    .nullable()
    .default(null)
    .describe("Authority (PEM) that signed the broker's certificate; null: those of the system."),
  certFile: path('a file')
    .register(keyNotes, { allowed: 'a file', path: true, example: '/etc/headgate/broker-cert.pem' })
    .nullable()
    .default(null)
    .describe('Certificate (PEM) to show to the broker; null: none.'),
  keyFile: path('a file')
    .register(keyNotes, { allowed: 'a file', path: true, example: '/etc/headgate/broker-key.pem' })
    .nullable()
    .default(null)
    .describe('Its key (PEM).'),
  sharedGroup: line(128, 'a text without /, + and #')
    .regex(/^[^/+#]*$/)
    .register(keyNotes, { allowed: 'a text without /, + and #', example: 'gateways' })
    .nullable()
    .default(null)
    .describe(
      'Name of a shared subscription: the broker gives each message to one of the gateways that have it; null: to this one.',
    ),
  qos: choice(['1', '2'])
    .default('1')
    .describe(
      'Asked for: 1, or 2, with which a message is stored once however often a connection breaks.',
    ),
  keepAliveSeconds: whole(5, 3600).default(60).describe('Silence after which the broker is asked.'),
});

export const mqtt = z.strictObject({
  enabled: flag().default(true).describe('Whether devices can publish here.'),
  host: host()
    .default('127.0.0.1')
    .describe('Address to listen on. Beyond loopback, users are required.'),
  port: port().default(1883).describe('Port of the MQTT broker (3.1.1).'),
  users: z
    .array(mqttUser)
    .max(10_000)
    .register(keyNotes, {
      allowed: 'a list of {username, password}',
      example: [{ username: 'sensors', password: '${SENSORS_PASSWORD:-change-me}' }],
    })
    .default([])
    .describe('Who may connect.'),
  tlsPort: port()
    .default(8883)
    .describe('Port of MQTT over TLS, which is served where the gateway has a certificate.'),
  clientCaFile: path('a file')
    .register(keyNotes, { allowed: 'a file', path: true, example: '/etc/headgate/devices-ca.pem' })
    .nullable()
    .default(null)
    .describe(
      'Authority (PEM) whose certificates devices must show on the TLS port; their common name is their user name, and they need no password.',
    ),
  rates: rates
    .prefault({})
    .describe('How much one device may send. It is made to wait, not refused.'),
  external: externalMqtt
    .prefault({})
    .describe('A broker elsewhere, instead of the one of the gateway.'),
  allowAnonymous: flag()
    .default(false)
    .describe('Lets anyone on this machine connect without a password; only on loopback.'),
  maxPayloadBytes: size(1).default(MiB).describe('A larger message ends its connection.'),
  maxConnections: whole(1, 100_000).default(1000).describe('Further connections are refused.'),
  routes: z
    .array(route)
    .max(10_000)
    .register(keyNotes, {
      allowed: 'a list of routes',
      example: [{ topic: 'sensors/+/reading', stream: 'readings', partitionKey: '{topic[1]}' }],
    })
    .default([])
    .describe('Which topics go to which stream.'),
});
