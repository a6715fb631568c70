/** What the keys of functions mean together, wherever they are called from. */
import { regionOfFunction } from '../functions/lambda.ts';
import { checkPair } from './access-rules.ts';
import { fields, type Fields } from './fields.ts';
import type { Path, Refer, Report } from './report.ts';

export function checkFunctionSources(config: Fields, refer: Refer, report: Report): void {
  const lettersOf = new Map<string, string>();
  for (const [name, source] of Object.entries(fields(config['functions']))) {
    const from = fields(fields(source)['from'])['stream'];
    const letters = fields(fields(source)['deadLetter'])['stream'];
    refer(['functions', name, 'from', 'stream'], from, 'stream');
    refer(['functions', name, 'deadLetter', 'stream'], letters, 'stream');
    if (typeof letters === 'string' && letters === from) {
      report(['functions', name, 'deadLetter', 'stream'], 'is where the records come from', {
        allowed: 'another stream',
      });
    }
    if (typeof letters === 'string') {
      const other = lettersOf.get(letters);
      if (other !== undefined) {
        report(['functions', name, 'deadLetter', 'stream'], `is that of ${other} already`, {
          allowed: 'a stream of its own',
        });
      }
      lettersOf.set(letters, name);
    }
    const { tumblingWindowSeconds, parallelization } = fields(source);
    if (Number(tumblingWindowSeconds) > 0 && Number(parallelization) > 1) {
      report(['functions', name, 'parallelization'], 'does not go with tumblingWindowSeconds', {
        allowed: '1',
      });
    }
  }
}

export function checkFunctions(config: Fields, report: Report): void {
  for (const [name, hook] of Object.entries(fields(config['hooks']))) {
    checkFunction(fields(fields(hook)['to']), ['hooks', name, 'to'], report);
  }
  for (const [name, delivery] of Object.entries(fields(config['deliveries']))) {
    const target = fields(fields(fields(delivery)['transform'])['function']);
    checkFunction(target, ['deliveries', name, 'transform', 'function'], report);
  }
  for (const [name, source] of Object.entries(fields(config['functions']))) {
    checkFunction(fields(fields(source)['function']), ['functions', name, 'function'], report);
  }
}

function checkFunction(target: Fields, path: Path, report: Report): void {
  const { url } = fields(target['http']);
  if (typeof url === 'string' && URL.canParse(url) && new URL(url).username !== '') {
    report([...path, 'http', 'url'], 'has a user in it', {
      allowed: 'a URL without one, and authorization beside it',
    });
  }
  const { path: file } = fields(target['module']);
  if (typeof file === 'string' && /\.[cm]?tsx?$/.test(file)) {
    report([...path, 'module', 'path'], 'is TypeScript, and modules run as they are', {
      allowed: 'a module in JavaScript (.mjs, .cjs or .js), such as the compiler makes of it',
    });
  }
  const lambda = fields(target['lambda']);
  const called = lambda['function'];
  if (
    typeof called === 'string' &&
    lambda['region'] === null &&
    regionOfFunction(called) === null
  ) {
    report([...path, 'lambda', 'function'], 'needs region beside it: a name does not say it', {
      allowed: 'region, or the ARN of the function in place of its name',
    });
  }
  checkPair(lambda, [...path, 'lambda'], report);
}
