/** `ProcessingConfiguration`: what is done with records on their way. */
import type { Processing } from '../destination-shapes.ts';
import { allowedFunction, type Places } from './places.ts';
import { refusal, type Refusal } from './refusal.ts';

type Processor = NonNullable<Processing['Processors']>[number];
type ParameterName = NonNullable<Processor['Parameters']>[number]['ParameterName'];
type Parameters = ReadonlyMap<ParameterName, string>;

/** Keys of a delivery of the configuration. */
export interface ProcessingOptions {
  readonly deaggregate?: object;
  readonly transform?: object;
  /** What stands behind each record. */
  readonly delimiter?: string;
  /** A query for the values that prefixes name, as the service writes it. */
  readonly query?: string;
}

const MB = 2 ** 20;
const member = 'ProcessingConfiguration';
const delimiterMax = 16;
/** Parameters that are of no use here: functions are called with the key of the configuration. */
const ignored: readonly ParameterName[] = ['RoleArn', 'BufferIntervalInSeconds'];

/** @throws Refusal */
export function processingOptions(
  processing: Processing | undefined,
  places: Places,
): ProcessingOptions {
  if (processing?.Enabled !== true) return {};
  let options: ProcessingOptions = {};
  const seen = new Set<string>();
  for (const { Type: type, Parameters: given = [] } of processing.Processors ?? []) {
    if (seen.has(type)) throw refused(`There is more than one processor of the type ${type}.`);
    seen.add(type);
    const parameters: Parameters = new Map(
      given.map(({ ParameterName, ParameterValue }) => [ParameterName, ParameterValue]),
    );
    options = { ...options, ...processorOptions(type, parameters, places) };
  }
  return options;
}

function processorOptions(
  type: Processor['Type'],
  parameters: Parameters,
  places: Places,
): ProcessingOptions {
  switch (type) {
    case 'Lambda':
      return { transform: lambdaOptions(parameters, places) };
    case 'RecordDeAggregation':
      return deaggregation(parameters);
    case 'AppendDelimiterToRecord':
      checkParameters(type, parameters, ['Delimiter']);
      return { delimiter: delimiterOf(parameters) };
    case 'MetadataExtraction': {
      checkParameters(type, parameters, ['MetadataExtractionQuery', 'JsonParsingEngine']);
      const engine = parameters.get('JsonParsingEngine');
      if (engine !== 'JQ-1.6') throw refused('The JsonParsingEngine is JQ-1.6.');
      return { query: needed(type, parameters, 'MetadataExtractionQuery') };
    }
    case 'Decompression':
    case 'CloudWatchLogProcessing':
      throw refused(`The processor ${type} is for logs of CloudWatch, which do not come here.`);
  }
}

function lambdaOptions(parameters: Parameters, places: Places): object {
  checkParameters('Lambda', parameters, ['LambdaArn', 'NumberOfRetries', 'BufferSizeInMBs']);
  const arn = allowedFunction(
    `${member}.LambdaArn`,
    needed('Lambda', parameters, 'LambdaArn'),
    places,
  );
  const retries = numberOf(parameters, 'NumberOfRetries', 0, 300);
  const megabytes = numberOf(parameters, 'BufferSizeInMBs', 0.2, 3);
  return {
    function: { lambda: { function: arn, ...places.lambda } },
    ...(retries === null ? {} : { retries: Math.min(retries, 100) }),
    ...(megabytes === null ? {} : { batchBytes: Math.round(megabytes * MB) }),
    // As long as a function of Lambda may take there.
    timeoutSeconds: 300,
  };
}

function deaggregation(parameters: Parameters): ProcessingOptions {
  checkParameters('RecordDeAggregation', parameters, ['SubRecordType', 'Delimiter']);
  const type = needed('RecordDeAggregation', parameters, 'SubRecordType');
  if (type === 'JSON') return { deaggregate: { type: 'json' } };
  if (type !== 'DELIMITED') throw refused('The SubRecordType is JSON or DELIMITED.');
  // As the service has it: in base64.
  const encoded = needed('RecordDeAggregation', parameters, 'Delimiter');
  const delimiter = Buffer.from(encoded, 'base64').toString('utf8');
  if (delimiter === '' || Buffer.from(delimiter).toString('base64') !== encoded) {
    throw refused('The Delimiter of RecordDeAggregation is a text in base64.');
  }
  return { deaggregate: { type: 'delimited', delimiter } };
}

function delimiterOf(parameters: Parameters): string {
  const given = parameters.get('Delimiter') ?? '\\n';
  const escapes: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '\\': '\\' };
  const delimiter = given.replace(/\\([nrt\\])/g, (_, letter: string) => escapes[letter] ?? '');
  if (delimiter.length <= delimiterMax) return delimiter;
  throw refused(`A Delimiter has at most ${delimiterMax} characters.`);
}

function checkParameters(
  type: string,
  parameters: Parameters,
  known: readonly ParameterName[],
): void {
  for (const name of parameters.keys()) {
    if (known.includes(name) || ignored.includes(name)) continue;
    throw refused(`The processor ${type} has no parameter ${name}.`);
  }
}

function needed(type: string, parameters: Parameters, name: ParameterName): string {
  const value = parameters.get(name);
  if (value === undefined) throw refused(`The processor ${type} needs the parameter ${name}.`);
  return value;
}

/** null: it is left out. */
function numberOf(
  parameters: Parameters,
  name: ParameterName,
  min: number,
  max: number,
): number | null {
  const text = parameters.get(name);
  if (text === undefined) return null;
  const value = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && value >= min && value <= max) return value;
  throw refused(`${name} is a number from ${min} to ${max}.`);
}

function refused(message: string): Refusal {
  return refusal(member, message);
}
