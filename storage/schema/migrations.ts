import { logMigration } from './001-log.ts';
import { videoMigration } from './002-video.ts';
import { operationsMigration } from './003-operations.ts';
import { receivedMigration } from './004-received.ts';
import { lanesMigration } from './005-lanes.ts';
import { compactionMigration } from './006-compaction.ts';
import { compressionMigration } from './007-compression.ts';
import { reshardingMigration } from './008-resharding.ts';
import { outlivingLeasesMigration } from './009-outliving-leases.ts';
import { dataKeysMigration } from './010-data-keys.ts';
import { placesMigration } from './011-places.ts';
import { encryptionMigration } from './012-encryption.ts';
import { itemsMigration } from './013-items.ts';
import { footageMigration } from './014-footage.ts';
import { cameraFactsMigration } from './015-camera-facts.ts';
import { planOutputMigration } from './016-plan-output.ts';
import type { Migration } from './migration.ts';

/** Every migration, in order of version without a gap. */
export const migrations: readonly Migration[] = [
  logMigration,
  videoMigration,
  operationsMigration,
  receivedMigration,
  lanesMigration,
  compactionMigration,
  compressionMigration,
  reshardingMigration,
  outlivingLeasesMigration,
  dataKeysMigration,
  placesMigration,
  encryptionMigration,
  itemsMigration,
  footageMigration,
  cameraFactsMigration,
  planOutputMigration,
];
