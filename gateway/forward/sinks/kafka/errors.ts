/** What the errors of Kafka's brokers, and of the client, mean. */
import {
  AuthenticationError,
  GenericError,
  MultipleErrors,
  TimeoutError,
} from '@platformatic/kafka';
import { SinkError, type SinkErrorCode } from '../../sink.ts';
import { connectionError } from '../connection.ts';

const keys = { address: 'to.kafka.brokers', authority: 'to.kafka.caFile' } as const;

type Meaning = readonly [SinkErrorCode, string | null];

const noTopic: Meaning = ['missing', 'Create the topic, or correct to.kafka.topic.'];
const noRight: Meaning = [
  'denied',
  'Allow the user Write and Describe on the topic, and IdempotentWrite on the cluster (needed before Kafka 2.8).',
];
const notLetIn: Meaning = ['credentials', 'Check to.kafka.sasl, username and password.'];
const tooLarge: Meaning = [
  'too-large',
  'Raise max.message.bytes of the topic, or message.max.bytes of the brokers.',
];
const fewReplicas: Meaning = [
  'unavailable',
  'Fewer replicas are in sync than min.insync.replicas asks for: see after the brokers.',
];
const again: Meaning = ['unavailable', null];

/** By the protocol's own names; what is not here is the broker's, and passes. */
const byName: Readonly<Record<string, Meaning>> = {
  UNKNOWN_TOPIC_OR_PARTITION: noTopic,
  UNKNOWN_TOPIC_ID: noTopic,
  INVALID_TOPIC_EXCEPTION: noTopic,
  TOPIC_AUTHORIZATION_FAILED: noRight,
  CLUSTER_AUTHORIZATION_FAILED: noRight,
  SASL_AUTHENTICATION_FAILED: notLetIn,
  UNSUPPORTED_SASL_MECHANISM: notLetIn,
  ILLEGAL_SASL_STATE: notLetIn,
  MESSAGE_TOO_LARGE: tooLarge,
  RECORD_LIST_TOO_LARGE: tooLarge,
  INVALID_RECORD: ['rejected', null],
  INVALID_TIMESTAMP: [
    'rejected',
    'The topic takes no records of that age: see its message.timestamp settings.',
  ],
  POLICY_VIOLATION: ['rejected', null],
  UNSUPPORTED_COMPRESSION_TYPE: [
    'denied',
    'Set to.kafka.compression to one that the brokers know.',
  ],
  NOT_ENOUGH_REPLICAS: fewReplicas,
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: fewReplicas,
  THROTTLING_QUOTA_EXCEEDED: ['throttled', null],
  REQUEST_TIMED_OUT: ['timeout', null],
};

/** The broker has forgotten the producer, or what it sent: another producer has to go on. */
const producerLost = new Set([
  'OUT_OF_ORDER_SEQUENCE_NUMBER',
  'INVALID_PRODUCER_EPOCH',
  'INVALID_PRODUCER_ID_MAPPING',
  'UNKNOWN_PRODUCER_ID',
  'PRODUCER_FENCED',
]);

export interface KafkaFailure {
  readonly error: SinkError;
  /** The broker answered that it has not taken it, so that nothing of it can be there. */
  readonly isRefused: boolean;
  readonly isProducerLost: boolean;
}

/** Whatever it is that was thrown. */
export function kafkaFailure(error: unknown): KafkaFailure {
  const name = brokerErrorOf(error, 8);
  if (name !== null) {
    const [code, advice] = byName[name] ?? again;
    const isRefused = ['missing', 'denied', 'too-large', 'rejected'].includes(code);
    return {
      error: new SinkError(code, name, { cause: error, advice }),
      isRefused,
      isProducerLost: producerLost.has(name),
    };
  }
  return { error: clientError(error), isRefused: false, isProducerLost: false };
}

export function kafkaError(error: unknown): SinkError {
  return error instanceof SinkError ? error : kafkaFailure(error).error;
}

function clientError(error: unknown): SinkError {
  const network = connectionError(error, keys);
  if (network !== null) return network;
  if (!(error instanceof Error)) return new SinkError('unavailable', String(error));
  const text = sentence(error, 8);
  const of = (code: SinkErrorCode, advice: string | null): SinkError =>
    new SinkError(code, text, { cause: error, advice });
  // The client makes an error of its own of an unknown topic.
  if (/Unknown topic/.test(text)) return of(...noTopic);
  if (has(error, AuthenticationError) || /authenticat|SASL/i.test(text)) return of(...notLetIn);
  if (has(error, TimeoutError)) return of('timeout', null);
  return of('unreachable', null);
}

function has(error: unknown, kind: new (...options: never[]) => Error, depth = 8): boolean {
  if (depth === 0 || !(error instanceof Error)) return false;
  if (error instanceof kind) return true;
  return causesOf(error).some((cause) => has(cause, kind, depth - 1));
}

/** The name of the first broker's error in it. */
function brokerErrorOf(error: unknown, depth: number): string | null {
  if (depth === 0 || !(error instanceof Error)) return null;
  if (error instanceof GenericError && typeof error['apiId'] === 'string') return error['apiId'];
  for (const cause of causesOf(error)) {
    const name = brokerErrorOf(cause, depth - 1);
    if (name !== null) return name;
  }
  return null;
}

function causesOf(error: Error): readonly unknown[] {
  return error instanceof MultipleErrors || error instanceof AggregateError
    ? [...(error.errors as unknown[]), error.cause]
    : [error.cause];
}

/** The innermost one says what happened. */
function sentence(error: Error, depth: number): string {
  const [cause] = causesOf(error).filter((one) => one instanceof Error);
  return cause === undefined || depth === 0 ? error.message : sentence(cause, depth - 1);
}
