import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { printReference } from '../../../gateway/config/reference.ts';
import { configTree, nodeAt, type KeyNode, type KeyPath } from '../../../gateway/config/tree.ts';
import { startChild } from '../../support/child.ts';
import { headgateCommand } from '../../support/gateway.ts';
import { configOf, parse } from './support.ts';

const file = new URL('../../../headgate.reference.yaml', import.meta.url);

/** With the examples taken in. */
function uncommented(text: string): string {
  return text.replaceAll(/^(\s*)# /gm, '$1');
}

test('the reference file is what `headgate config --reference` prints', async () => {
  const text = await readFile(file, 'utf8');
  assert.equal(text, printReference(), 'print it again into the file');
});

test('into a pipe it is printed to its end, though a pipe holds less', async (t) => {
  const [command, args] = headgateCommand('config', '--reference');
  const child = startChild(t, command, args);
  assert.equal((await child.exited).code, 0);
  assert.equal(`${child.lines.join('\n')}\n`, printReference());
});

test('as it is, the reference file is the defaults', async () => {
  assert.deepEqual(configOf(await readFile(file, 'utf8')), configOf(''));
});

test('with its examples, the reference file is valid and has every key there is', async () => {
  const text = uncommented(await readFile(file, 'utf8'));
  const result = parse(text);
  assert.ok(result.ok);
  const written = new Set<string>();
  const collect = (node: KeyNode, value: unknown, path: KeyPath, name: string): void => {
    if (result.originOf(path).kind === 'file') written.add(name);
    if (typeof value !== 'object' || value === null) return;
    for (const [key, inner] of Object.entries(value)) {
      const part = Array.isArray(value) ? Number(key) : key;
      const child = nodeAt(node, [part])!;
      collect(
        child,
        inner,
        [...path, part],
        node.kind === 'section' ? `${name}.${key}` : `${name}.*`,
      );
    }
  };
  collect(configTree, result.config, [], '');
  const all: string[] = [];
  const visit = (node: KeyNode, name: string): void => {
    if (name !== '') all.push(name);
    if (node.kind === 'section')
      for (const [key, child] of node.keys) visit(child, `${name}.${key}`);
    if (node.kind === 'map') visit(node.entry, `${name}.*`);
    if (node.kind === 'list') visit(node.item, `${name}.*`);
  };
  visit(configTree, '');
  assert.ok(all.length > 60);
  assert.deepEqual(
    all.filter((name) => !written.has(name)),
    [],
  );
});

test('every key has a description', () => {
  const visit = (node: KeyNode, path: KeyPath): void => {
    if (node.kind === 'section') {
      for (const [key, child] of node.keys) {
        const where = [...path, key].join('.');
        assert.match(child.description, /^.{5,}[.,:;]$/, `${where} is not described`);
        assert.ok(
          child.kind === 'section' || child.allowed !== '',
          `${where} does not say what is allowed`,
        );
        visit(child, [...path, key]);
      }
    }
    if (node.kind === 'map') visit(node.entry, [...path, '*']);
    if (node.kind === 'list') visit(node.item, [...path, '*']);
  };
  visit(configTree, []);
});
