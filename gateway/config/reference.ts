/**
 * headgate.reference.yaml, made from the schema: every key with its description, its default, what
 * is allowed and its variable. `headgate config --reference` prints it; a test holds the file in
 * the repository to it.
 */
import { variableOf } from './environment.ts';
import {
  configTree,
  isLeaf,
  type KeyNode,
  type KeyPath,
  type LeafNode,
  type ListNode,
  type MapNode,
  type SectionNode,
} from './tree.ts';
import { showLeaf, wrap } from './yaml-text.ts';

const head = `## Every key of headgate.yaml. Everything may be left out, and has the value shown here then.
##
## Lines that begin with a single # are examples, with values of their own: take the # away to use
## them.
##
## \${NAME} stands for an environment variable, \${NAME:-text} gives it a default, \${file:/path} stands
## for the text of a file, and $\${ for \${ itself. Within { } and [ ] they need quotes.
##
## Every key can be set from the environment too, by the name beside it. The entries of maps and
## lists are reached by name or position (HEADGATE_CAMERAS__front__RETENTION_HOURS,
## HEADGATE_MQTT_USERS__0__PASSWORD), or set all at once as YAML or JSON (HEADGATE_STREAMS). With
## _FILE behind the name, the value is the text of a file.
##
## Sizes are bytes or have a unit: 500 MB, 10 GiB. Relative paths start at the folder of this file.`;

export function printReference(): string {
  return `${[head, ...printSection(configTree as SectionNode, [], new Set())].join('\n')}\n`;
}

function printSection(section: SectionNode, path: KeyPath, told: Set<KeyNode>): readonly string[] {
  return [...section.keys].flatMap(([key, node]) => {
    const variable = variableOf(configTree, [...path, key]);
    const lines = [
      ...wrap(`${describe(node)} [${variable}]`, '## '),
      ...printKey(key, node, path, told),
    ];
    return path.length === 0 ? ['', ...lines] : lines.map((line) => `  ${line}`);
  });
}

function printKey(
  key: string,
  node: KeyNode,
  path: KeyPath,
  told: Set<KeyNode>,
): readonly string[] {
  if (node.kind === 'section') return [`${key}:`, ...printSection(node, [...path, key], told)];
  if (!isLeaf(node)) return [`${key}:`, ...printExamples(node, told).map((line) => `# ${line}`)];
  const value = node.fallback?.value;
  return value === null && node.example !== undefined
    ? [`# ${key}: ${showLeaf(node, node.example)}`]
    : [`${key}: ${showLeaf(node, value)}`];
}

/** The example entries of a map or list; what a key means is told at its first one. */
function printExamples(node: MapNode | ListNode, told: Set<KeyNode>): readonly string[] {
  if (node.kind === 'map') {
    const entries = Object.entries(node.example as Readonly<Record<string, unknown>>);
    return entries.flatMap(([name, entry]) => [
      `  ${name}:`,
      ...printExample(node.entry, entry, told).map((line) => `    ${line}`),
    ]);
  }
  return printItems(node, node.example, told).map((line) => `  ${line}`);
}

function printItems({ item }: ListNode, entries: unknown, told: Set<KeyNode>): readonly string[] {
  return (entries as readonly unknown[]).flatMap((entry) => {
    const lines = printExample(item, entry, told);
    const first = lines.findIndex((line) => !line.startsWith('#'));
    return lines.map((line, index) => `${index === first ? '- ' : '  '}${line}`);
  });
}

/** An entry as an example gives it, filled up with the defaults of its keys. */
function printExample(node: KeyNode, value: unknown, told: Set<KeyNode>): readonly string[] {
  if (isLeaf(node)) return [showLeaf(node, value)];
  if (node.kind === 'list') return printItems(node, value, told);
  if (node.kind === 'map') {
    return Object.entries(value as Readonly<Record<string, unknown>>).flatMap(([name, entry]) => {
      const lines = printExample(node.entry, entry, told);
      return isLeaf(node.entry)
        ? [`${name}: ${lines.join('')}`]
        : [`${name}:`, ...lines.map((line) => `  ${line}`)];
    });
  }
  return [...node.keys].flatMap(([key, child]) => {
    const given = (value as Readonly<Record<string, unknown>>)[key];
    if (given === undefined && child.fallback === null) return [];
    const comment = told.has(child) ? [] : wrap(describe(child), '## ');
    told.add(child);
    const shown = given ?? child.fallback?.value;
    if (shown === null && !isLeaf(child)) return [...comment, `${key}: null`];
    const lines = printExample(child, shown, told);
    if (child.kind === 'list' && lines.length === 0) return [...comment, `${key}: []`];
    // A section without keys says something by being there.
    if (!isLeaf(child) && lines.length === 0) return [...comment, `${key}: {}`];
    return isLeaf(child)
      ? [...comment, `${key}: ${lines.join('')}`]
      : [...comment, `${key}:`, ...lines.map((line) => `  ${line}`)];
  });
}

function describe(node: KeyNode): string {
  return isLeaf(node) ? `${node.description}${limits(node)}` : node.description;
}

/** What is allowed, where the description does not say it already. */
function limits(leaf: LeafNode): string {
  const unsaid =
    leaf.kind === 'number' || leaf.choices.some((choice) => !leaf.description.includes(choice));
  return unsaid ? ` ${leaf.allowed.charAt(0).toUpperCase()}${leaf.allowed.slice(1)}.` : '';
}
