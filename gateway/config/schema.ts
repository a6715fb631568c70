/**
 * headgate.yaml, as one schema: every key with its description, default and limits, units last.
 *
 * The loader, the environment variables, the reference file, the printed configuration and the
 * masking of secrets are all made from this tree; nothing about a key is said anywhere else. What
 * keys mean together (references between sections, listening beyond loopback) is in rules.ts.
 */
import { z } from 'zod';
import { awsCredentials, endpoint, region } from './aws-access.ts';
import { camera, sources, video } from './cameras.ts';
import { delivery } from './deliveries.ts';
import { firehose } from './firehose.ts';
import { eventSource } from './event-sources.ts';
import { hook } from './hooks.ts';
import {
  accessKeyId,
  accountId,
  choice,
  decimal,
  filePartitionKey,
  flag,
  host,
  keyNotes,
  line,
  name,
  path,
  policyDocument,
  port,
  regionName,
  regularExpression,
  secret,
  size,
  userName,
  whole,
} from './leaves.ts';
import { mqtt } from './mqtt.ts';
import { checkRules } from './rules.ts';
import { user } from './users.ts';

const GB = 1e9;
const MiB = 2 ** 20;

const tls = z.strictObject({
  certFile: path('a file')
    .register(keyNotes, { allowed: 'a file', path: true, example: '/etc/headgate/fullchain.pem' })
    .nullable()
    .default(null)
    .describe('The certificate, then those that vouch for it (PEM).'),
  keyFile: path('a file')
    .register(keyNotes, { allowed: 'a file', path: true, example: '/etc/headgate/privkey.pem' })
    .nullable()
    .default(null)
    .describe('Its private key (PEM), without a password.'),
});

const http = z.strictObject({
  host: host()
    .default('127.0.0.1')
    .describe('Address to listen on. "listen: lan" listens on every one.'),
  port: port().default(8080).describe('Port of the page, the REST API, HLS and the metrics.'),
  allowPlaintext: flag()
    .default(false)
    .describe(
      'Speaks plaintext to other machines too. The login token crosses the network in the clear then: set it for a network you trust, or behind a proxy that speaks TLS.',
    ),
  hostnames: z
    .array(host())
    .max(100)
    .register(keyNotes, { allowed: 'a list of host names', example: ['gateway.example.net'] })
    .default([])
    .describe(
      'Names, beside its addresses, by which browsers may call this gateway. A request under any other name is refused, which stops DNS rebinding.',
    ),
});

const fieldNames = z
  .array(line(256, 'a name of 1 to 256 characters'))
  .max(1000)
  .register(keyNotes, { allowed: 'a list of names', example: ['time', 'level', 'message'] })
  .default([]);

const fileSource = z.strictObject({
  path: path('a file, a folder, or a pattern with *, ?, [ ], { } and **').describe(
    'The file, the folder (all files in it) or the pattern, like /var/log/app/*.log. Renamed, truncated, copied and gzip-compressed files are told from new ones.',
  ),
  stream: name().describe('The stream that the lines are appended to.'),
  from: choice(['beginning', 'end'])
    .default('beginning')
    .describe(
      'Where to begin with files that are there at the very first start: beginning, or end, with what is added from then on. Later files are read from their beginning.',
    ),
  multiline: z
    .strictObject({
      startPattern: regularExpression()
        .nullable()
        .default(null)
        .describe('What the first line of a record matches; null: every line is a record.'),
      flushSeconds: decimal(0.1, 3600)
        .default(5)
        .describe('A record is complete when no line was added to it for this long.'),
    })
    .prefault({})
    .describe('Records of several lines, like stack traces.'),
  convert: choice(['none', 'single-line', 'csv', 'json', 'regex'])
    .default('none')
    .describe(
      'What is stored: none, the lines as they are; single-line, the lines of a record joined by spaces; csv and regex, a JSON object of the fields; json, the JSON on one line. What does not fit is stored as it is, and counted.',
    ),
  csv: z
    .strictObject({
      delimiter: z
        .string()
        .regex(/^[^"\r\n]$/u)
        .register(keyNotes, { allowed: 'one character, not a quote' })
        .default(',')
        .describe('What is between two fields.'),
      fields: fieldNames.describe('Their names; none: the first line of each file has them.'),
    })
    .prefault({})
    .describe('For "convert: csv".'),
  regex: z
    .strictObject({
      pattern: regularExpression()
        .nullable()
        .default(null)
        .describe('The regular expression; its groups are the fields.'),
      fields: fieldNames.describe('Names of the groups, in order; none: the pattern names them.'),
    })
    .prefault({})
    .describe('For "convert: regex".'),
  partitionKey: filePartitionKey()
    .default('{path}')
    .describe(
      'The key that keeps records in order and picks the shard: text with {path}, {file}, {record.host} (a field of what csv, json or regex made) or {random}. One that finds nothing falls back to the path.',
    ),
  maxLineBytes: size(64)
    .default(MiB)
    .describe('A longer record is cut there, and what is left out is counted. At most 8 MiB.'),
});

const rtsp = z.strictObject({
  enabled: flag().default(true).describe('Whether cameras can push here and players read.'),
  host: host().default('127.0.0.1').describe('Address to listen on.'),
  port: port()
    .default(8554)
    .describe('Port of the RTSP server. A camera pushes to, and players read, rtsp://…/<camera>.'),
  tlsPort: port()
    .default(8322)
    .describe(
      'Port of RTSP over TLS (rtsps://…/<camera>), which is served where the gateway has a certificate.',
    ),
  readers: z
    .array(user)
    .max(1000)
    .register(keyNotes, {
      allowed: 'a list of {username, password}',
      example: [{ username: 'viewer', password: '${VIEWER_PASSWORD:-change-me}' }],
    })
    .default([])
    .describe('Who may watch the cameras with a player.'),
  maxConnections: whole(1, 10_000).default(512).describe('Further connections are refused.'),
  maxReaderBufferBytes: size(64 * 1024)
    .default(8 * MiB)
    .describe('A player that falls this far behind is dropped.'),
});

const webrtc = z.strictObject({
  enabled: flag()
    .default(true)
    .describe('Whether cameras can be published by WHIP and watched by WHEP, over HTTP.'),
  host: host()
    .default('127.0.0.1')
    .describe('Address that the media go to. "listen: lan" listens on every one.'),
  port: port().default(44400).describe('Port of the media, UDP and TCP alike.'),
  announcedAddresses: z
    .array(host())
    .max(8)
    .register(keyNotes, { allowed: 'a list of addresses', example: ['203.0.113.7'] })
    .default([])
    .describe(
      'Addresses by which clients reach that port besides those of this machine, as behind a router that forwards it.',
    ),
  maxSessions: whole(1, 10_000)
    .default(256)
    .describe('Publishers and viewers together; further ones are refused.'),
});

const log = z.strictObject({
  lingerMs: decimal(0, 1000)
    .default(0)
    .describe(
      'How long a group commit waits for more records. A few milliseconds spare slow flash memory; every acknowledgement takes as much longer.',
    ),
  maxQueuedBytes: size(MiB)
    .default(64 * MiB)
    .describe('Bytes that may wait for the disk; past it, senders are held back.'),
  tailCacheBytes: size(0)
    .default(32 * MiB)
    .describe('Memory for the newest records, from which everyone who keeps up is served.'),
  readCacheBytes: size(0)
    .default(32 * MiB)
    .describe(
      'Memory for records that were read from the disk a moment ago: whoever goes through the same backlog side by side reads it once.',
    ),
  minFreeBytes: size(0)
    .nullable()
    .default(null)
    .describe(
      'Disk space that stays free of records: below it, the oldest that no delivery needs are deleted, then new ones are refused. null: 512 MiB, but at most a tenth of the disk.',
    ),
  maxShards: whole(1, 10_000)
    .default(16)
    .describe(
      'Up to how many shards a stream on demand is split by itself when its load grows; when little is left of the load, they are merged again.',
    ),
});

const aws = z.strictObject({
  region: regionName()
    .default('us-east-1')
    .describe('The region that the gateway takes itself for; clients set the same.'),
  accountId: accountId().default('000000000000').describe('The account that its ARNs name.'),
});

const kinesis = z.strictObject({
  enforceLimits: flag()
    .default(true)
    .describe(
      'Whether provisioned streams keep to the limits of their shards: 1 MiB and 1000 records a second in, 2 MiB and 5 reads a second out.',
    ),
});

const logging = z.strictObject({
  level: choice(['debug', 'info', 'warn', 'error'])
    .default('info')
    .describe('The least important lines that are written.'),
  format: choice(['auto', 'text', 'json'])
    .default('auto')
    .describe('text for people, json for machines; auto is text on a terminal and json elsewhere.'),
});

const stream = z.strictObject({
  shards: whole(1, 10_000)
    .default(1)
    .describe('Shards to begin with; of a stream that exists the number stays as it is.'),
  mode: choice(['on-demand', 'provisioned'])
    .default('on-demand')
    .describe(
      'on-demand takes what the box can do; provisioned keeps to the limits of its shards.',
    ),
  retentionHours: decimal(1, 87_600)
    .default(24)
    .describe('Records are kept this long, unless a required delivery still needs them.'),
  maxBytes: size(MiB)
    .nullable()
    .default(4 * GB)
    .describe('Bytes that the stream may take up on disk; null: no limit of its own.'),
  whenFull: choice(['refuse', 'drop-oldest'])
    .default('refuse')
    .describe('At maxBytes: refuse new records, or drop the oldest ones.'),
  compression: choice(['none', 'deflate'])
    .default('none')
    .describe(
      'deflate compresses records that come from now on, a while after they came: more fit into maxBytes, for some more work of the processor.',
    ),
  aggregation: choice(['pass', 'split'])
    .default('pass')
    .describe(
      'What becomes of records that producers have packed into one, as the Kinesis Producer Library does: pass stores them as they come, and consumers take them apart (the KCL does); split does so for them, each record under its own key.',
    ),
  encryption: choice(['aes-256-gcm', 'none'])
    .default('aes-256-gcm')
    .describe(
      'How records are encrypted on disk, under a key of the stream that the master key (encryption) wraps. What a stream held before follows in the background; with none, what is encrypted stays so.',
    ),
});

const readerPolicy =
  '{"Statement": {"Effect": "Allow", "Action": "kinesis:Get*", "Resource": "*"}}';

const auth = z.strictObject({
  mode: choice(['sigv4', 'permissive'])
    .default('sigv4')
    .describe(
      'sigv4 checks the signature of every request to an AWS API. permissive takes requests of programs on this machine that name a known key, whatever they signed with; every listener has to be on loopback.',
    ),
  keys: z
    .array(
      z.strictObject({
        name: userName().describe('The user that the key speaks for, in ARNs and the audit log.'),
        accessKeyId: accessKeyId().describe('The id of the key.'),
        secretAccessKey: secret().describe('What requests are signed with.'),
        policies: z
          .array(policyDocument())
          .max(10)
          .register(keyNotes, {
            allowed: 'a list of policy documents',
            example: [readerPolicy],
          })
          .default([])
          .describe('What it may do, as policy documents of IAM; none: everything.'),
      }),
    )
    .max(1000)
    .register(keyNotes, {
      allowed: 'a list of {name, accessKeyId, secretAccessKey, policies}',
      example: [
        {
          name: 'dashboards',
          accessKeyId: 'AKIAEXAMPLE',
          secretAccessKey: '${DASHBOARDS_SECRET:-change-me}',
          policies: [readerPolicy],
        },
      ],
    })
    .default([])
    .describe('Access keys of AWS clients, besides those that "headgate access-key" makes.'),
});

/** One of them, or none. */
const masterKeyPlaces = {
  masterKeyFile: path('a file')
    .register(keyNotes, { allowed: 'a file', path: true, example: '/etc/headgate/master.key' })
    .nullable()
    .default(null)
    .describe(
      'Holds the master key: 32 bytes, in Base64 or hexadecimal. Without it nothing that is encrypted can be read. null: made in the data folder, where it protects what is copied from the disk without the folder "access", and no more.',
    ),
  masterKey: secret()
    .nullable()
    .default(null)
    .describe('The master key itself, for one that comes from the environment; null: a file.'),
  kms: z
    .strictObject({
      keyId: line(2048, 'the ARN, id or alias of a key')
        .nullable()
        .default(null)
        .describe('A key of AWS KMS as the master key; null: a file.'),
      region: region.describe("null: that of the key's ARN."),
      endpoint,
      ...awsCredentials,
    })
    .prefault({})
    .describe(
      'A master key that does not leave AWS KMS. What is encrypted can then be read after a start only once KMS has answered.',
    ),
};

const encryption = z.strictObject({
  ...masterKeyPlaces,
  previous: z
    .strictObject({
      ...masterKeyPlaces,
      masterKeyFile: masterKeyPlaces.masterKeyFile.describe(
        'Where the master key was until now; access/master.key in the data folder, if nothing was said.',
      ),
    })
    .prefault({})
    .describe(
      'The master key of before, for a change of it: at the next start what it protects is put under the new one. Take it out of here after that.',
    ),
  dataKeyDays: decimal(1, 3650)
    .default(90)
    .describe(
      'A data key older than this gives way to a new one, and what it encrypted is encrypted anew.',
    ),
});

/** The whole file. Everything has a default: an empty file is a configuration. */
/** Beside the configuration file. */
export const defaultDataDir = './data';

export const configSchema = z
  .strictObject({
    dataDir: path('a folder').default(defaultDataDir).describe('Where everything is stored.'),
    mediaDir: path('a folder')
      .register(keyNotes, { allowed: 'a folder', path: true, example: '/mnt/footage' })
      .nullable()
      .default(null)
      .describe('Where footage is stored, for another disk; null: inside dataDir.'),
    ffmpegPath: path('a program')
      .register(keyNotes, {
        allowed: 'a program',
        path: true,
        program: true,
        example: '/usr/bin/ffmpeg',
      })
      .nullable()
      .default(null)
      .describe('The ffmpeg to use, version 5 or newer; null: the one in PATH.'),
    listen: choice(['loopback', 'lan'])
      .default('loopback')
      .describe(
        'Who can connect: loopback, this machine only; lan, other machines too, over TLS (RTSP: with digest authentication). With lan, a certificate and the users that are not configured are made; "headgate credentials" shows them.',
      ),
    tls: tls
      .prefault({})
      .describe('A certificate of your own; without it the gateway makes one where it needs one.'),
    shutdownTimeoutSeconds: decimal(1, 300)
      .default(10)
      .describe('After this long the gateway ends, when it is told to, whatever still hangs.'),
    http: http.prefault({}).describe('The page, the REST API, HLS, metrics.'),
    auth: auth.prefault({}).describe('Who may use the AWS APIs.'),
    encryption: encryption.prefault({}).describe('The key for what is encrypted on disk.'),
    mqtt: mqtt.prefault({}).describe('Telemetry in: an MQTT broker.'),
    rtsp: rtsp.prefault({}).describe('Video in: the server that cameras push to and players read.'),
    webrtc: webrtc.prefault({}).describe('Video in and out for browsers: WHIP and WHEP.'),
    log: log.prefault({}).describe('The record log on disk.'),
    aws: aws.prefault({}).describe('What the gateway is to AWS clients.'),
    kinesis: kinesis
      .prefault({})
      .describe('The Kinesis Data Streams API, which AWS clients speak on the port of http.'),
    firehose: firehose
      .prefault({})
      .describe('The Firehose API, which AWS clients speak on the port of http.'),
    logging: logging.prefault({}).describe('What the gateway says about itself, on stdout.'),
    video: video.prefault({}).describe('The store of footage.'),
    sources: sources.prefault({}).describe('What a source may be.'),
    streams: z
      .record(name(), stream)
      .register(keyNotes, {
        allowed: 'a map of streams by name',
        example: { readings: {}, 'camera-events': { retentionHours: 168 }, 'app-log': {} },
      })
      .prefault({})
      .describe('Data streams, by name.'),
    files: z
      .record(name(), fileSource)
      .register(keyNotes, {
        allowed: 'a map of files by name',
        example: {
          'app-log': {
            path: '/var/log/app/*.log',
            stream: 'app-log',
            multiline: { startPattern: '^\\d{4}-\\d{2}-\\d{2}' },
            csv: { fields: ['time', 'level', 'message'] },
            regex: { pattern: '^(\\S+) (\\w+) (.*)$', fields: ['time', 'level', 'message'] },
          },
        },
      })
      .prefault({})
      .describe('Files whose lines go to a stream, as they are written; by name.'),
    cameras: z
      .record(name(), camera)
      .register(keyNotes, {
        allowed: 'a map of cameras by name',
        example: {
          front: {
            source: { push: { username: 'front', password: '${FRONT_PASSWORD:-change-me}' } },
            events: 'camera-events',
          },
          yard: {
            source: { rtsp: 'rtsp://viewer:change-me@192.0.2.10/stream1' },
            maxBytes: 50 * GB,
            marks: [{ topic: 'alarms/yard/#', kind: 'alarm', hold: true }],
          },
          van: { source: { putMedia: {} } },
        },
      })
      .prefault({})
      .describe('Cameras, by name.'),
    uplink: z
      .strictObject({
        maxBytesPerSecond: size(1024)
          .nullable()
          .default(null)
          .describe(
            'What all deliveries together send in a second at most. A delivery of higher priority goes first, what is new goes before a backlog, and the deliveries take turns. null: as much as there is.',
          ),
      })
      .prefault({})
      .describe('The way out that all deliveries share.'),
    deliveries: z
      .record(name(), delivery)
      .register(keyNotes, {
        allowed: 'a map of deliveries by name',
        example: {
          archive: {
            from: { stream: 'readings' },
            to: {
              s3: {
                bucket: 'telemetry',
                prefix: 'site-1/',
                region: 'eu-central-1',
                endpoint: 'https://s3.example.net',
                accessKeyId: 'AKIAEXAMPLE',
                secretAccessKey: '${S3_SECRET:-change-me}',
              },
            },
            transform: { function: { module: { path: './redact.mjs' } } },
          },
          'by-device': {
            from: { stream: 'readings' },
            to: {
              folder: {
                path: './by-device',
                prefix: '!{partitionKeyFromQuery:device}/!{timestamp:yyyy/MM/dd}/',
              },
            },
            layout: { partitionBy: { device: 'device.id' } },
          },
          footage: { from: { camera: 'front' }, to: { folder: { path: './delivered' } } },
          tables: {
            from: { stream: 'readings' },
            to: { folder: { path: './tables' } },
            format: {
              type: 'parquet',
              columns: [
                { name: 'at', type: 'timestamp', from: 'time' },
                { name: 'temperature', type: 'double' },
              ],
            },
          },
          cleaned: {
            from: { stream: 'readings' },
            to: { folder: { path: './cleaned' } },
            transform: {
              function: {
                http: {
                  url: 'http://127.0.0.1:9000/clean',
                  authorization: '${CLEANER_TOKEN:-Bearer x}',
                },
              },
            },
            backup: {
              to: { s3: { bucket: 'originals', prefix: 'readings/', region: 'eu-central-1' } },
              record: 'envelope',
              format: { type: 'ndjson' },
            },
          },
          enriched: {
            from: { stream: 'readings' },
            to: { folder: { path: './enriched' } },
            backup: { to: { folder: { path: './originals' } }, format: { delimiter: '\n' } },
            transform: { function: { lambda: { function: 'enrich', region: 'eu-central-1' } } },
          },
          live: {
            from: { stream: 'camera-events' },
            to: { kinesis: { stream: 'camera-events', region: 'eu-central-1' } },
            startAt: 'latest',
          },
          video: {
            from: { camera: 'front' },
            to: { kinesisVideo: { stream: 'front', region: 'eu-central-1' } },
            priority: 3,
            schedule: {
              windows: [{ hours: '22:00-06:00' }, { hours: '12:00-13:00', days: ['sat', 'sun'] }],
              timeZone: 'Europe/Berlin',
            },
            onlyWhile: { program: './is-on-wifi', arguments: ['wlan0'] },
          },
          partner: {
            from: { stream: 'readings' },
            to: {
              http: {
                url: 'https://ingest.example.net/v1',
                accessKey: '${HTTP_KEY:-change-me}',
                commonAttributes: { site: 'north' },
                compression: 'gzip',
              },
            },
            failed: {
              to: {
                s3: {
                  bucket: 'undelivered',
                  prefix: 'partner/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/',
                  region: 'eu-central-1',
                },
              },
            },
          },
          search: {
            from: { stream: 'readings' },
            to: {
              opensearch: {
                endpoint: 'https://search.example.net:9200',
                index: 'readings',
                rotation: 'day',
                username: 'gateway',
                password: '${SEARCH_PASSWORD:-change-me}',
              },
            },
            failed: { to: { folder: { path: './undelivered' } }, format: { compression: 'none' } },
          },
          logs: {
            from: { stream: 'app-log' },
            to: {
              splunk: {
                endpoint: 'https://splunk.example.net:8088',
                token: '${SPLUNK_TOKEN:-change-me}',
                sourcetype: 'app',
              },
            },
          },
          twins: {
            from: { stream: 'readings' },
            to: { dynamodb: { table: 'devices', region: 'eu-central-1', sets: ['tags'] } },
          },
          warehouse: {
            from: { stream: 'readings' },
            to: {
              redshift: {
                host: 'plant.0123456789.eu-central-1.redshift-serverless.amazonaws.com',
                database: 'plant',
                username: 'gateway',
                password: '${REDSHIFT_PASSWORD:-change-me}',
                table: 'readings',
                columns: ['device', 'time', 'value'],
                iamRole: 'arn:aws:iam::123456789012:role/load-readings',
                staging: { bucket: 'plant-staging', region: 'eu-central-1' },
              },
            },
          },
          messages: {
            from: { stream: 'readings' },
            to: {
              nats: {
                servers: ['nats://nats.example.net:4222'],
                subject: 'plant.{partitionKey}',
                token: '${NATS_TOKEN:-change-me}',
              },
            },
          },
          topic: {
            from: { stream: 'readings' },
            to: {
              kafka: {
                brokers: ['kafka-1.example.net:9093', 'kafka-2.example.net:9093'],
                topic: 'readings',
                compression: 'lz4',
                tls: true,
                sasl: 'scram-sha-512',
                username: 'gateway',
                password: '${KAFKA_PASSWORD:-change-me}',
              },
            },
          },
        },
      })
      .prefault({})
      .describe('What is sent on, and where, by name.'),
    functions: z
      .record(name(), eventSource)
      .register(keyNotes, {
        allowed: 'a map of functions by name',
        example: {
          alarms: {
            from: { stream: 'readings' },
            function: { module: { path: './alarms.mjs' } },
            batchSize: 500,
            bisectOnError: true,
            retries: 3,
            filter: ['{"data":{"celsius":[{"numeric":[">",30]}]}}'],
            deadLetter: { folder: './not-done' },
          },
          averages: {
            from: { stream: 'readings' },
            function: { lambda: { function: 'averages', region: 'eu-central-1' } },
            tumblingWindowSeconds: 60,
            startAt: { edge: 'latest' },
          },
          inventory: {
            from: { stream: 'readings' },
            function: {
              http: {
                url: 'http://127.0.0.1:9000/inventory',
                authorization: '${INVENTORY_TOKEN:-Bearer x}',
              },
            },
            startAt: { time: '2026-01-31T12:00:00Z' },
            deadLetter: { stream: 'camera-events' },
          },
        },
      })
      .prefault({})
      .describe(
        "Functions that get the records of streams in batches, by Lambda's contract for Kinesis, by name.",
      ),
    hooks: z
      .record(name(), hook)
      .register(keyNotes, {
        allowed: 'a map of hooks by name',
        example: {
          people: {
            camera: 'front',
            to: {
              http: {
                url: 'http://127.0.0.1:9000/detect',
                authorization: '${HOOK_TOKEN:-Bearer x}',
              },
            },
            stream: 'camera-events',
          },
          plates: {
            camera: 'yard',
            send: 'fragment',
            perMinute: null,
            to: { lambda: { function: 'plates', region: 'eu-central-1' } },
          },
          smoke: {
            camera: 'yard',
            perMinute: 1,
            to: { command: { program: '/usr/local/bin/detect', arguments: ['--model', 'smoke'] } },
          },
        },
      })
      .prefault({})
      .describe(
        'Programs that look at cameras, by name. What one answers, {"labels": [{"name", "confidence", "box"}]}, becomes a tag of the fragment under the name of the hook, and a record. They are set here only, never over an API.',
      ),
  })
  .superRefine(checkRules, { when: () => true });

/** A valid configuration, defaults filled in; sizes in bytes. */
export type Config = z.output<typeof configSchema>;

/**
 * A camera that is recorded from PutMedia, with what the configuration leaves out.
 * @param retentionHours 0: nothing is kept but the file that is being written
 */
export function putMediaCamera(retentionHours: number): Config['cameras'][string] {
  return { ...camera.parse({ source: { putMedia: {} } }), retentionHours };
}
