/** A real Kafka broker from Maven, on request: as the Kinesis Client Library is for its test. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { startChild, type Child } from '../../../../support/child.ts';
import { freePort } from '../../../../support/gateway.ts';
import { mavenJars, taken } from '../../../../support/maven.ts';
import type { Scope } from '../../../../support/scope.ts';
import { temporaryFolder } from '../../../../support/temporary-folder.ts';

const variable = 'HEADGATE_TEST_KAFKA';
const isWanted = taken(variable);
const sources = import.meta.dirname;

/** The folder of the broker and all that it needs; null, and a skip, where it can't be had. */
export function kafkaJars(context: TestContext): Promise<string | null> {
  return mavenJars(context, {
    ...{ name: 'kafka', title: 'Kafka', megabytes: 50 },
    ...{ pom: join(sources, 'pom.xml'), variable, isWanted },
  });
}

export interface TopicRecord {
  readonly partition: number;
  /** Where Kafka's own producers put its key. */
  readonly wanted: number;
  readonly key: string;
  readonly id: string;
  readonly arrivalMs: number;
  readonly data: string;
}

export interface KafkaListener {
  /** `PLAINTEXT`, `SASL_PLAINTEXT` or `SSL`. */
  readonly protocol: string;
  /** Lines of the broker's configuration. */
  readonly settings: readonly string[];
  /** What clients are told to connect to in its place. */
  readonly advertisedPort?: number;
}

/** One broker and controller in a process, which keeps its ports and its topics over restarts. */
export class KafkaBroker {
  /** Without a password. */
  readonly address: string;
  /** Of the listener that the test has asked for. */
  readonly secondAddress: string;
  readonly #context: Scope;
  readonly #jars: string;
  readonly #properties: string;
  #child: Child | null = null;
  #client: Child | null = null;
  #reads = 0;

  private constructor(
    context: Scope,
    { jars, properties, ports }: { jars: string; properties: string; ports: readonly number[] },
  ) {
    this.#context = context;
    this.#jars = jars;
    this.#properties = properties;
    this.address = `127.0.0.1:${ports[0] ?? 0}`;
    this.secondAddress = `127.0.0.1:${ports[1] ?? 0}`;
  }

  /** @param format further arguments of the storage tool, such as users */
  static async start(
    context: Scope,
    jars: string,
    second: KafkaListener = { protocol: 'PLAINTEXT', settings: [] },
    format: readonly string[] = [],
  ): Promise<KafkaBroker> {
    const folder = await temporaryFolder(context);
    const ports = [await freePort(), await freePort(), await freePort()] as const;
    const [first, other, controller] = ports;
    const listeners = [`FIRST://127.0.0.1:${first}`, `SECOND://127.0.0.1:${other}`];
    const properties = join(folder, 'server.properties');
    const lines = [
      ...['process.roles=broker,controller', 'node.id=1', `log.dirs=${folder}/topics`],
      `controller.quorum.voters=1@127.0.0.1:${controller}`,
      `listeners=${[...listeners, `CONTROLLER://127.0.0.1:${controller}`].join(',')}`,
      `advertised.listeners=${listeners[0] ?? ''},SECOND://127.0.0.1:${second.advertisedPort ?? other}`,
      `listener.security.protocol.map=FIRST:PLAINTEXT,SECOND:${second.protocol},CONTROLLER:PLAINTEXT`,
      ...['controller.listener.names=CONTROLLER', 'inter.broker.listener.name=FIRST'],
      ...['offsets.topic.replication.factor=1', 'auto.create.topics.enable=false'],
      ...second.settings,
    ];
    await writeFile(properties, `${lines.join('\n')}\n`);
    const broker = new KafkaBroker(context, { jars, properties, ports });
    const cluster = ['-t', 'MkU3OEVBNTcwNTJENDM2Qg', '-c', properties];
    const formatting = broker.#java('kafka.tools.StorageTool', ['format', ...cluster, ...format]);
    const { code } = await formatting.exited;
    if (code !== 0) throw new Error(formatting.lines.join('\n'));
    await broker.start();
    return broker;
  }

  async start(): Promise<void> {
    this.#child = this.#java('kafka.Kafka', [this.#properties]);
    await this.#child.line(/Kafka Server started/);
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    await this.#child?.stop(signal);
  }

  /** @param settings such as `max.message.bytes=1000` */
  async createTopic(
    name: string,
    partitions: number,
    settings: readonly string[] = [],
  ): Promise<void> {
    const client = await this.#reader();
    const words = ['create', name, String(partitions), ...settings];
    client.process.stdin?.write(`${words.join(' ')}\n`);
    await client.line(new RegExp(`^created ${name}$`));
  }

  /** Everything that a topic holds, partition by partition. */
  async read(topic: string): Promise<TopicRecord[]> {
    const client = await this.#reader();
    const begin = client.lines.length;
    this.#reads += 1;
    client.process.stdin?.write(`read ${topic} ${this.#reads}\n`);
    await client.line(new RegExp(`^end ${this.#reads}$`));
    return client.lines.slice(begin).flatMap((line) => {
      const [kind, partition, wanted, key = '', id = '', arrival, ...data] = line.split(' ');
      if (kind !== 'record') return [];
      const place = { partition: Number(partition), wanted: Number(wanted) };
      return { ...place, key, id, arrivalMs: Number(arrival), data: data.join(' ') };
    });
  }

  async #reader(): Promise<Child> {
    if (this.#client !== null) return this.#client;
    const program = join(sources, 'TopicReader.java');
    this.#client = this.#java(
      program,
      [this.address],
      ['-Dorg.slf4j.simpleLogger.logFile=/dev/null'],
    );
    await this.#client.line(/^ready$/);
    return this.#client;
  }

  #java(program: string, args: readonly string[], options: readonly string[] = []): Child {
    const memory = ['-Xmx384m', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC'];
    const all = [...memory, ...options, '-cp', join(this.#jars, '*'), program, ...args];
    return startChild(this.#context, 'java', all);
  }
}
