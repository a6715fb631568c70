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
  const { ColumnToJsonKeyMappings: mappings, ConvertDotsInJsonKeysToUnderscores: dots } =
    OpenXJsonSerDe ?? {};
  if ((mappings?.size ?? 0) > 0 || dots === true) {
    throw invalid('OpenXJsonSerDe neither maps nor converts the names of columns here.');
  }
  const { ParquetSerDe, OrcSerDe } = OutputFormatConfiguration?.Serializer ?? {};
  if (OrcSerDe !== undefined) throw invalid('Records are converted to Parquet, not to ORC.');
  return { type: 'parquet', compression: compressions[ParquetSerDe?.Compression ?? 'SNAPPY'] };
}
