/** Subjects of NATS, made for each record from its partition key. */

const placeholder = '{partitionKey}';
/** What a name between two dots may not have in it: separators, wildcards, white space. */
const forbidden = /[\s.*>\p{Cc}]/gu;
const subjectPattern = /^[^\s.*>{}\p{Cc}]+(\.[^\s.*>{}\p{Cc}]+)*$/u;

/** Whether a template makes subjects: names with dots between them, `{partitionKey}` among them. */
export function isSubjectTemplate(template: string): boolean {
  return template.length <= 512 && subjectPattern.test(template.replaceAll(placeholder, 'key'));
}

/**
 * The subject for a partition key, which always fills one place: what may not be in a name becomes
 * `_`, and so does a key of nothing.
 *
 * @example subjectOf('plant.{partitionKey}.readings', 'line 1') // 'plant.line_1.readings'
 */
export function subjectOf(template: string, partitionKey: string): string {
  const name = partitionKey.replace(forbidden, '_');
  return template.replaceAll(placeholder, () => (name === '' ? '_' : name));
}
