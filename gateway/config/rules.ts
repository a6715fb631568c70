/**
 * What the keys of headgate.yaml mean together: all rules in their order, and here those of
 * references between sections and of files; the others have files of their own.
 *
 * The rules also run over a configuration that is wrong elsewhere, so that every problem is seen
 * at once. Nothing about the shape of the value may therefore be taken for granted here.
 */
import type { z } from 'zod';
import {
  checkBackups,
  checkCredentials,
  checkDeliverySources,
  checkFormats,
  checkLoads,
  checkShapes,
  checkTransforms,
} from './delivery-rules.ts';
import { failedOwner } from './failed-rules.ts';
import { fields, list, type Fields } from './fields.ts';
import { checkFunctions, checkFunctionSources } from './function-rules.ts';
import { checkAuth, checkEncryption, checkFirehose } from './access-rules.ts';
import { checkListeners, checkUsers } from './listener-rules.ts';
import { reportTo, type Refer, type Report } from './report.ts';

/** A line is one record, and grows when it is converted. */
const lineBytesMax = 8 * 2 ** 20;

export function checkRules(value: unknown, context: z.RefinementCtx): void {
  const report = reportTo(context);
  const config = fields(value);
  checkListeners(config, report);
  checkUsers(config, report);
  checkReferences(config, report);
  checkBackups(config, report);
  checkCredentials(config, report);
  checkFirehose(config, report);
  checkAuth(config, report);
  checkEncryption(config, report);
  checkFiles(config, report);
  checkFormats(config, report);
  checkLoads(config, report);
  checkFunctions(config, report);
  checkTransforms(config, report);
  checkShapes(config, report);
}

function checkReferences(config: Fields, report: Report): void {
  const streams = Object.keys(fields(config['streams']));
  const cameras = Object.keys(fields(config['cameras']));
  const refer: Refer = (path, name, kind) => {
    const declared = kind === 'stream' ? streams : cameras;
    if (typeof name !== 'string' || declared.includes(name)) return;
    const owner = kind === 'stream' ? failedOwner(config, name) : null;
    if (owner !== null) {
      report(path, `is where the failed records of the delivery ${owner} are kept`, {
        allowed: `a stream of this file; "failed" under deliveries.${owner} puts them into a bucket`,
      });
      return;
    }
    report(path, `is not a ${kind} of this configuration`, {
      allowed:
        declared.length === 0
          ? `the name of a ${kind} under ${kind}s, which has none`
          : `one of ${shortList(declared)}`,
      candidates: declared,
    });
  };

  list(fields(config['mqtt'])['routes']).forEach((route, index) => {
    refer(['mqtt', 'routes', index, 'stream'], fields(route)['stream'], 'stream');
  });
  for (const [name, files] of Object.entries(fields(config['files']))) {
    refer(['files', name, 'stream'], fields(files)['stream'], 'stream');
  }
  for (const [name, camera] of Object.entries(fields(config['cameras']))) {
    refer(['cameras', name, 'events'], fields(camera)['events'], 'stream');
  }
  for (const [name, hook] of Object.entries(fields(config['hooks']))) {
    refer(['hooks', name, 'camera'], fields(hook)['camera'], 'camera');
    refer(['hooks', name, 'stream'], fields(hook)['stream'], 'stream');
  }
  checkFunctionSources(config, refer, report);
  checkDeliverySources(config, refer, report);
}

function checkFiles(config: Fields, report: Report): void {
  for (const [name, entry] of Object.entries(fields(config['files']))) {
    const { convert, maxLineBytes, regex } = fields(entry);
    if (convert === 'regex' && fields(regex)['pattern'] === null) {
      report(['files', name, 'regex', 'pattern'], 'is needed for "convert: regex"', {
        allowed: 'a regular expression',
      });
    }
    if (typeof maxLineBytes === 'number' && maxLineBytes > lineBytesMax) {
      report(['files', name, 'maxLineBytes'], 'is too large', { allowed: 'at most 8 MiB' });
    }
  }
}

function shortList(names: readonly string[]): string {
  const shown = names.slice(0, 10).join(', ');
  return names.length > 10 ? `${shown} … (${names.length} in all)` : shown;
}
