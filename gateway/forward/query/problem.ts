/** What is wrong with a query that somebody wrote, in words that lead on. */
import { tokensOf } from './jmespath/lexer.ts';
import { compileQuery, type QueryLanguage } from './query.ts';
import { QueryError } from './values.ts';

export const languageNames: Readonly<Record<QueryLanguage, string>> = {
  jmespath: 'JMESPath',
  jq: 'jq',
};

export interface QueryProblem {
  /** Goes on from the query: "is no query of JMESPath: it ends too early". */
  readonly says: string;
  /** The language that it is written in instead; null: neither. */
  readonly writtenIn: QueryLanguage | null;
}

/** A dot with nothing before it, as fields of jq have it. What has none may be jq by chance. */
const ownDot = /(?<![\w\])"'*])\./;

/** null: it is one of that language. */
export function queryProblem(text: string, language: QueryLanguage): QueryProblem | null {
  const reason = failure(text, language);
  const notOne = `is no query of ${languageNames[language]}`;
  if (reason === null) {
    const compared = language === 'jmespath' ? comparedField(text) : null;
    return compared === null ? null : { says: compared, writtenIn: null };
  }
  const other = language === 'jq' ? 'jmespath' : 'jq';
  const isOther = (other === 'jmespath' || ownDot.test(text)) && failure(text, other) === null;
  if (!isOther) return { says: `${notOne}: ${reason}`, writtenIn: null };
  return { says: `${notOne}, but one of ${languageNames[other]}`, writtenIn: other };
}

function failure(text: string, language: QueryLanguage): string | null {
  try {
    compileQuery(text, language);
    return null;
  } catch (error) {
    if (error instanceof QueryError) return error.message;
    throw error;
  }
}

const comparing: readonly string[] = ['==', '!='];

/**
 * `site == "north"` compares two fields. Whoever writes it means a text, and would lose every record
 * to a filter without a word.
 */
function comparedField(text: string): string | null {
  const tokens = tokensOf(text);
  const field = tokens.find((token, index) => {
    const before = tokens[index - 1];
    return token.kind === 'quoted' && before?.kind === 'sign' && comparing.includes(before.text);
  });
  if (field?.kind !== 'quoted') return null;
  const { text: name, at } = field;
  return `has a field between quotes at character ${at + 1}: a text is '${name}', and a field @."${name}"`;
}
