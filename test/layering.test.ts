/**
 * Who may import whom (ARCHITECTURE.md): storage nothing of ours; ingest storage; gateway both;
 * the page only the types of the REST API. Some packages and globals belong to one file.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, it } from 'node:test';
import ts from 'typescript';

const root = resolve(import.meta.dirname, '..');

/** The rooms that each room may import from, besides itself. */
const allowed: Record<string, readonly string[]> = {
  storage: [],
  ingest: ['storage'],
  gateway: ['storage', 'ingest'],
  dashboards: ['gateway/api/rest'],
};

/** Packages that one place alone may import. */
const owners: Record<string, string> = {
  sqlite3: 'storage/sqlite.ts',
  pino: 'gateway/observe/',
  'prom-client': 'gateway/observe/',
  aedes: 'ingest/mqtt/',
  hono: 'gateway/',
};

interface Import {
  readonly specifier: string;
  readonly typeOnly: boolean;
}

function sourceFiles(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    if (name === 'node_modules') return [];
    if (statSync(path).isDirectory()) return sourceFiles(path);
    return /\.tsx?$/.test(name) && !name.endsWith('.d.ts') ? [path] : [];
  });
}

function importsOf(path: string): Import[] {
  const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest);
  const found: Import[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) {
      const { moduleSpecifier } = node;
      if (moduleSpecifier !== undefined && ts.isStringLiteral(moduleSpecifier)) {
        const typeOnly = ts.isImportDeclaration(node)
          ? node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword
          : node.isTypeOnly;
        found.push({ specifier: moduleSpecifier.text, typeOnly });
      }
    }
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [argument] = node.arguments;
      if (argument !== undefined && ts.isStringLiteral(argument)) {
        found.push({ specifier: argument.text, typeOnly: false });
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function complaint(file: string, { specifier, typeOnly }: Import): string | null {
  const room = file.split('/')[0] ?? '';
  if (specifier.startsWith('.')) {
    const target = relative(root, resolve(root, dirname(file), specifier));
    if (target.startsWith(`${room}/`)) return null;
    const permitted = (allowed[room] ?? []).some((prefix) => target.startsWith(`${prefix}/`));
    if (!permitted) return `${file} imports ${target}`;
    return room === 'dashboards' && !typeOnly
      ? `${file} imports more than types of ${target}`
      : null;
  }
  const owner = owners[specifier];
  return owner !== undefined && !file.startsWith(owner)
    ? `${file} imports ${specifier}, which belongs to ${owner}`
    : null;
}

describe('the layering', () => {
  for (const room of Object.keys(allowed)) {
    it(`of ${room} holds`, () => {
      const files = sourceFiles(join(root, room)).map((path) => relative(root, path));
      assert.ok(files.length > 0, `${room} has no source files`);
      const complaints = files.flatMap((file) =>
        importsOf(join(root, file)).map((one) => complaint(file, one)),
      );
      assert.deepEqual(
        complaints.filter((one) => one !== null),
        [],
      );
    });
  }

  it('notices an import that breaks it', () => {
    const wrong = { specifier: '../gateway/gateway.ts', typeOnly: false };
    assert.equal(
      complaint('storage/store.ts', wrong),
      'storage/store.ts imports gateway/gateway.ts',
    );
  });

  it('leaves process to main.ts and the set-up', () => {
    const mayUse = (file: string): boolean =>
      file === 'gateway/main.ts' || file.startsWith('gateway/setup/');
    const users = Object.keys(allowed)
      .flatMap((room) => sourceFiles(join(root, room)))
      .map((path) => relative(root, path))
      .filter((file) => !mayUse(file))
      .filter((file) =>
        /(?<![.#\w])process\.(argv|env|exit|exitCode|on|once|kill|stdin|stdout|stderr|cwd|chdir)\b/.test(
          readFileSync(join(root, file), 'utf8'),
        ),
      );
    assert.deepEqual(users, []);
  });
});
