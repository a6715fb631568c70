/**
 * `headgate delivery`: holds a delivery back, lets it go on, puts it elsewhere, sends again what failed,
 * and lets go of what one that is no longer configured left behind.
 */
import type { Command } from 'commander';
import { DeliverySchema, ReplaySchema, type Delivery } from '../api/rest/delivery-schemas.ts';
import { failedBackupNameOf } from '../forward/source-backup.ts';
import { addSteeringCommands } from './steering.ts';
import { counted, formatBytes } from './table.ts';
import type { CliContext, ExitCode } from './context.ts';

export function addDeliveryCommand(
  program: Command,
  context: CliContext,
  finish: (code: ExitCode) => void,
): void {
  addSteeringCommands(program, context, finish, {
    what: 'delivery',
    path: 'deliveries',
    schema: DeliverySchema,
    replaySchema: ReplaySchema,
    description:
      'pause, resume or rewind a delivery, send its failed records again, or forget one that is no longer configured',
    about: {
      pause:
        'begin nothing any more, also after restarts; a required delivery keeps what it has not sent, within the byte limit of its source',
      rewind:
        'begin anew elsewhere: what came since then is sent, again where it was before, in objects of the next version',
      replay: 'send the records again that failed by now, which are in the stream failed.<name>',
      forget:
        'forget how far a removed delivery had come, and what it still holds: the stream failed.<name> too',
    },
    forced: 'also where records in failed.<name> were not sent again: they are deleted',
    waiting: waitingText,
    replayed: ({ name, records }) =>
      records === 0
        ? nothingFailed(name)
        : `${name} sends ${counted(records, 'failed record')} again; what fails once more is kept.`,
  });
}

function nothingFailed(name: string): string {
  const ending = failedBackupNameOf('');
  if (!name.endsWith(ending)) return `${name} has no failed records.`;
  const owner = name.slice(0, -ending.length);
  return `${name} has no failed records of its own: it keeps those of ${owner}, and "headgate delivery replay ${owner}" sends them again.`;
}

function waitingText({ backlog, from, required }: Delivery): string {
  if (backlog.records === 0) return 'Nothing waits to be sent.';
  const what = counted(backlog.records, from.kind === 'camera' ? 'file' : 'record');
  const kept = required ? ', kept within the byte limit of its source' : '';
  return `${what} (${formatBytes(backlog.bytes)}) to send${kept}.`;
}
