import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  blob,
  choice,
  flag,
  integer,
  list,
  optional,
  parseInput,
  required,
  structure,
  text,
  textMap,
  timestamp,
} from '../../../../gateway/api/aws/shapes.ts';

const shape = structure({
  Name: required(text({ pattern: '[a-z]+', min: 2, max: 4 })),
  Count: optional(integer({ min: 1, max: 10 })),
  Kind: optional(choice(['ONE', 'TWO'])),
  Data: optional(blob({ max: 3 })),
  At: optional(timestamp()),
  On: optional(flag()),
  Keys: optional(list(text(), { min: 1, max: 2, memberLengths: [1, 3] })),
  Tags: optional(textMap({ min: 1, max: 1, keyLengths: [1, 3], valueLengths: [0, 2] })),
  Parts: optional(list(structure({ Inner: required(text({ max: 2 })) }), { shownMember: 'part' })),
});

function serializationError(body: unknown): string {
  try {
    parseInput(shape, body);
  } catch (error) {
    assert.equal((error as { type?: string }).type, 'SerializationException');
    return (error as Error).message;
  }
  return assert.fail(`nothing wrong with ${JSON.stringify(body)}`);
}

function validationErrors(body: unknown): string[] {
  try {
    parseInput(shape, body);
  } catch (error) {
    const { type, message } = error as { type?: string; message: string };
    assert.equal(type, 'ValidationException');
    const [count, rest = ''] = message.split(' detected: ');
    const errors = rest.split('; ');
    assert.equal(count, `${errors.length} validation error${errors.length > 1 ? 's' : ''}`);
    return errors;
  }
  return assert.fail(`nothing wrong with ${JSON.stringify(body)}`);
}

describe('shapes', () => {
  test('give what was sent its type, and leave out what is not described', () => {
    const input = parseInput(shape, {
      ...{ Name: 'abc', Count: 2.9, Kind: 'TWO', Data: 'AQI=', At: 1.5, On: true },
      ...{ Keys: ['a', 'b'], Tags: { k: '' }, Parts: [{ Inner: 'x', Other: 1 }], Other: 1 },
    });
    assert.deepEqual(input, {
      ...{ Name: 'abc', Count: 2, Kind: 'TWO', Data: Buffer.from([1, 2]), At: 1500, On: true },
      ...{ Keys: ['a', 'b'], Tags: new Map([['k', '']]), Parts: [{ Inner: 'x' }] },
    });
    const fromCbor = parseInput(shape, { Name: 'abc', Data: Buffer.from([1]), At: new Date(7) });
    assert.deepEqual([fromCbor.Data, fromCbor.At], [Buffer.from([1]), 7]);
    assert.equal(parseInput(shape, { Name: 'abc', Count: 1 }).Kind, undefined);
    assert.equal(parseInput(shape, { Name: 'abc', Count: null }).Count, undefined);
  });

  test('tell the first wrong type in the words of the service', () => {
    const big = 'com.amazon.coral.value.json.numbers.TruncatingBigNumber';
    const cases: readonly (readonly [unknown, string])[] = [
      [{ Name: true }, 'class java.lang.Boolean can not be converted to an String'],
      [{ Name: 1 }, `class ${big} can not be converted to an String`],
      [{ Name: [] }, 'Start of list found where not expected'],
      [{ Name: {} }, 'Start of structure or map found where not expected.'],
      [{ Count: 'a' }, 'class java.lang.String can not be converted to an Integer'],
      [{ Count: true }, 'class java.lang.Boolean can not be converted to an Integer'],
      [{ Data: 1 }, `class ${big} can not be converted to a Blob`],
      [{ Data: {} }, 'Start of structure or map found where not expected.'],
      [
        { Data: 'abc' },
        "'abc' can not be converted to a Blob: Base64 encoded length is expected a multiple of 4 bytes but found: 3",
      ],
      [{ Data: 'ab=c' }, "'ab=c' can not be converted to a Blob: Invalid Base64 character: '='"],
      [{ Data: 'ab c' }, "'ab c' can not be converted to a Blob: Invalid Base64 character: ' '"],
      [{ Data: 'ab-c' }, "'ab-c' can not be converted to a Blob: Invalid Base64 character: '-'"],
      [
        { Data: 'AQJ=' },
        "'AQJ=' can not be converted to a Blob: Invalid last non-pad Base64 character dectected",
      ],
      [{ At: 'x' }, 'class java.lang.String can not be converted to milliseconds since epoch'],
      [{ On: 'yes' }, "'YES' can not be converted to an Boolean"],
      [{ On: 1 }, `class ${big} can not be converted to an Boolean`],
      [{ Keys: 'a' }, 'Expected list or null'],
      [{ Keys: {} }, 'Start of structure or map found where not expected.'],
      [{ Keys: [1] }, `class ${big} can not be converted to an String`],
      [{ Tags: 'a' }, 'Expected map or null'],
      [{ Tags: [] }, 'Start of list found where not expected'],
      [{ Tags: { a: 1 } }, `class ${big} can not be converted to an String`],
      [{ Parts: ['a'] }, 'Expected null'],
      [[], 'Start of list found where not expected'],
    ];
    for (const [body, message] of cases) assert.equal(serializationError(body), message);
  });

  test('tell every constraint that is not met, in order, after all types were right', () => {
    assert.deepEqual(
      validationErrors({
        ...{ Name: '', Count: 0, Kind: 'TEN', Data: 'AQIDBA==', Keys: ['', 'b', 'c'] },
        ...{ Tags: { k: 'long' }, Parts: [{ Inner: 'ok' }, {}] },
      }),
      [
        "Value '' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-z]+",
        "Value '' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 2",
        "Value '0' at 'count' failed to satisfy constraint: Member must have value greater than or equal to 1",
        "Value 'TEN' at 'kind' failed to satisfy constraint: Member must satisfy enum value set: [ONE, TWO]",
        "Value 'java.nio.HeapByteBuffer[pos=0 lim=4 cap=4]' at 'data' failed to satisfy constraint: Member must have length less than or equal to 3",
        "Value '[, b, c]' at 'keys' failed to satisfy constraint: Member must have length less than or equal to 2",
        "Value '[, b, c]' at 'keys' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 3, Member must have length greater than or equal to 1]",
        "Value '{k=long}' at 'tags' failed to satisfy constraint: Map value must satisfy constraint: [Member must have length less than or equal to 2, Member must have length greater than or equal to 0]",
        "Value null at 'parts.2.member.inner' failed to satisfy constraint: Member must not be null",
      ],
    );
    assert.deepEqual(validationErrors({}), [
      "Value null at 'name' failed to satisfy constraint: Member must not be null",
    ]);
    assert.deepEqual(validationErrors({ Name: 'abcde' }), [
      "Value 'abcde' at 'name' failed to satisfy constraint: Member must have length less than or equal to 4",
    ]);
  });

  test('tell ten constraints at most', () => {
    const Parts = Array.from({ length: 50 }, () => ({ Inner: 'long' }));
    assert.equal(validationErrors({ Name: 'abc', Parts }).length, 10);
  });

  test('never take a member from a prototype', () => {
    const shapeOfPrototype = structure({ constructor: optional(text()) });
    assert.deepEqual(parseInput(shapeOfPrototype, {}), {});
  });
});
