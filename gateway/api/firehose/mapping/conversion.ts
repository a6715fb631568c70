/** `DataFormatConversionConfiguration`: JSON into Parquet. */
import type { Configuration } from '../destination-shapes.ts';
import { invalid } from '../errors.ts';

type Conversion = NonNullable<Configuration<'ExtendedS3'>['DataFormatConversionConfiguration']>;

const compressions = { UNCOMPRESSED: 'none', GZIP: 'gzip', SNAPPY: 'snappy' } as const;

/**
 * There is no Glue here, so the columns are those that the records have; `SchemaConfiguration` is
 * kept, and not asked.
 * @throws FirehoseError `InvalidArgumentException`
 */
export function conversionFormat(conversion: Conversion): object {
  const { InputFormatConfiguration, OutputFormatConfiguration } = conversion;
  const { HiveJsonSerDe, OpenXJsonSerDe } = InputFormatConfiguration?.Deserializer ?? {};
  if ((HiveJsonSerDe?.TimestampFormats ?? []).length > 0) {
    throw invalid('HiveJsonSerDe has no TimestampFormats here.');
  }
  const {
    ColumnToJsonKeyMappings: mappings,
    ConvertDotsInJsonKeysToUnderscores: dotsToUnderscores = false,
    CaseInsensitive: ignoreCase = true,
  } = OpenXJsonSerDe ?? {};
  if ((mappings?.size ?? 0) > 0) {
    throw invalid('OpenXJsonSerDe has no ColumnToJsonKeyMappings here.');
  }
  const { ParquetSerDe, OrcSerDe } = OutputFormatConfiguration?.Serializer ?? {};
  if (OrcSerDe !== undefined) throw invalid('Records are converted to Parquet, not to ORC.');
  const pageBytes = ParquetSerDe?.PageSizeBytes;
  return {
    type: 'parquet',
    compression: compressions[ParquetSerDe?.Compression ?? 'SNAPPY'],
    ...{ dotsToUnderscores, ignoreCase },
    ...(pageBytes === undefined ? {} : { pageBytes }),
  };
}
