/** `RedshiftDestinationConfiguration`. */
import type { Configuration } from '../destination-shapes.ts';
import type { DeliveryFields } from './delivery.ts';
import { invalid } from '../errors.ts';
import type { Places } from './places.ts';

/** @throws FirehoseError `InvalidArgumentException` */
export function redshiftOptions(given: Configuration<'Redshift'>, places: Places): DeliveryFields {
  void given;
  void places;
  throw invalid('not yet');
}
