/** A producer of Kinesis Video Streams: sends media over HTTP/1.1, and reads what comes back. */
import { once } from 'node:events';
import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';

export interface Ack {
  readonly EventType: string;
  readonly FragmentTimecode?: number;
  readonly FragmentNumber?: string;
  readonly ErrorId?: number;
  readonly ErrorCode?: string;
}

/** Names the key that gateways in tests know, without a right signature (mode `permissive`). */
export const someAuthorization =
  'AWS4-HMAC-SHA256 Credential=AKIAPRODUCER/20260101/us-east-1/kinesisvideo/aws4_request, SignedHeaders=host, Signature=00';

export class Producer {
  readonly acks: Ack[] = [];
  /** Of a refusal: its body. */
  body = '';
  readonly #request: ClientRequest;
  readonly #closed: Promise<void>;
  #response: IncomingMessage | null = null;
  #ended = false;
  #changed: () => void = () => undefined;

  constructor(url: string, headers: Readonly<Record<string, string>>) {
    this.#request = httpRequest(`${url}/putMedia`, {
      method: 'POST',
      agent: false,
      headers: { authorization: someAuthorization, ...headers },
    });
    this.#request.on('error', () => undefined);
    this.#closed = new Promise<void>((resolve) => {
      this.#request.once('close', resolve);
    });
    this.#request.on('response', (response: IncomingMessage) => {
      this.#response = response;
      let text = '';
      response.setEncoding('utf8');
      response.on('error', () => undefined);
      response.on('data', (part: string) => {
        this.body += part;
        const lines = (text + part).split('\r\n');
        text = lines.pop() ?? '';
        this.acks.push(...lines.map((line) => JSON.parse(line) as Ack));
        this.#changed();
      });
      response.on('end', () => {
        // Whoever was told that nothing more is read stops sending.
        this.#request.destroy();
      });
      this.#changed();
    });
    this.#request.flushHeaders();
    void this.#closed.then(() => {
      this.#ended = true;
      this.#changed();
    });
  }

  get status(): number | null {
    return this.#response?.statusCode ?? null;
  }

  header(name: string): string | undefined {
    const value = this.#response?.headers[name];
    return Array.isArray(value) ? value[0] : value;
  }

  /** Resolves when there is room for more. */
  async send(bytes: Buffer): Promise<void> {
    if (this.#request.destroyed || this.#request.write(bytes)) return;
    await Promise.race([once(this.#request, 'drain').catch(() => undefined), this.#closed]);
  }

  end(): void {
    this.#request.end();
  }

  /** Breaks the connection. */
  cut(): void {
    this.#request.destroy();
  }

  /** Resolves when what was received is as wanted, or no more comes. */
  async until(wanted: () => boolean): Promise<void> {
    while (!wanted() && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  /** The answer has begun. */
  async answered(): Promise<void> {
    await this.until(() => this.#response !== null);
  }

  /** No more comes. */
  async ended(): Promise<void> {
    await this.until(() => false);
  }

  count(type: string): number {
    return this.acks.filter(({ EventType }) => EventType === type).length;
  }
}
