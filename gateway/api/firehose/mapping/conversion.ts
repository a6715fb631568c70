/** `DataFormatConversionConfiguration`: JSON into Parquet. */
import type { Configuration } from '../destination-shapes.ts';
import { refusal } from './refusal.ts';

type Conversion = NonNullable<Configuration<'ExtendedS3'>['DataFormatConversionConfiguration']>;

const input = (member: string): string =>
  `DataFormatConversionConfiguration.InputFormatConfiguration.Deserializer.${member}`;
const output = (member: string): string =>
  `DataFormatConversionConfiguration.OutputFormatConfiguration.Serializer.${member}`;

const compressions = { UNCOMPRESSED: 'none', GZIP: 'gzip', SNAPPY: 'snappy' } as const;

/**
 * There is no Glue here, so the columns are those that the records have; `SchemaConfiguration` is
 * kept, and not asked.
 * @throws Refusal
 */
export function conversionFormat(conversion: Conversion): object {
  const { InputFormatConfiguration, OutputFormatConfiguration } = conversion;
  const { HiveJsonSerDe, OpenXJsonSerDe } = InputFormatConfiguration?.Deserializer ?? {};
  if ((HiveJsonSerDe?.TimestampFormats ?? []).length > 0) {
    throw refusal(input('HiveJsonSerDe.TimestampFormats'), 'There are none here.');
  }
  const {
    ColumnToJsonKeyMappings: mappings,
    ConvertDotsInJsonKeysToUnderscores: dotsToUnderscores = false,
    CaseInsensitive: ignoreCase = true,
  } = OpenXJsonSerDe ?? {};
  if ((mappings?.size ?? 0) > 0) {
    throw refusal(input('OpenXJsonSerDe.ColumnToJsonKeyMappings'), 'There are none here.');
  }
  const { ParquetSerDe, OrcSerDe } = OutputFormatConfiguration?.Serializer ?? {};
  if (OrcSerDe !== undefined) {
    throw refusal(output('OrcSerDe'), 'Records are converted to Parquet, not to ORC.');
  }
  const pageBytes = ParquetSerDe?.PageSizeBytes;
  return {
    type: 'parquet',
    compression: compressions[ParquetSerDe?.Compression ?? 'SNAPPY'],
    ...{ dotsToUnderscores, ignoreCase },
    ...(pageBytes === undefined ? {} : { pageBytes }),
  };
}
