/**
 * The secrets of destinations: they are kept apart from the rest, sealed under a key of the gateway's,
 * and never told again.
 */
import type { DestinationKind, GivenDestination } from './destination-shapes.ts';

export type Fields = Readonly<Record<string, unknown>>;
export type Secrets = Readonly<Record<string, string>>;

/** Where they stand in a configuration, from its top. */
const paths: Readonly<Partial<Record<DestinationKind, readonly string[]>>> = {
  HttpEndpoint: ['EndpointConfiguration', 'AccessKey'],
  Splunk: ['HECToken'],
  Redshift: ['Password'],
};

/** Takes the secret out of a configuration, which is left as it is. */
export function withoutSecrets(
  kind: DestinationKind,
  configuration: Fields,
): { readonly configuration: Fields; readonly secrets: Secrets } {
  const [first, second] = paths[kind] ?? [];
  if (first === undefined) return { configuration, secrets: {} };
  if (second === undefined) {
    const { [first]: secret, ...others } = configuration;
    return typeof secret === 'string'
      ? { configuration: others, secrets: { [first]: secret } }
      : { configuration, secrets: {} };
  }
  const { [second]: secret, ...others } = fieldsOf(configuration[first]);
  return typeof secret === 'string'
    ? { configuration: { ...configuration, [first]: others }, secrets: { [second]: secret } }
    : { configuration, secrets: {} };
}

export function hasSecrets({ kind, configuration }: GivenDestination): boolean {
  return Object.keys(withoutSecrets(kind, configuration).secrets).length > 0;
}

/** Puts it back. */
export function withSecrets(
  kind: DestinationKind,
  configuration: Fields,
  secrets: Secrets,
): Fields {
  const [first, second] = paths[kind] ?? [];
  const secret = secrets[second ?? first ?? ''];
  if (first === undefined || secret === undefined) return configuration;
  if (second === undefined) return { ...configuration, [first]: secret };
  return { ...configuration, [first]: { ...fieldsOf(configuration[first]), [second]: secret } };
}

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {};
}
