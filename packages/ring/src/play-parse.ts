/** Reads what is stated about runs of playbooks. Safe for browsers. */
import type { StatementReaders } from './enrolment-parse.ts'
import type { PlayStatement } from './play-statements.ts'
import type { PlayInputs } from './plays.ts'

export const PLAY_TYPES: ReadonlySet<unknown> = new Set([
  'play.start',
  'play.claim',
  'play.report',
  'play.approve',
  'play.cancel',
  'play.undo',
] satisfies readonly PlayStatement['type'][])

const NAME = /^[a-z0-9][a-z0-9-]{0,62}$/
const RUN = /^[0-9a-f]{16}$/
const KEY_CHARS_MAX = 300
const NOTE_CHARS_MAX = 200
/** In canonical order. */
const INPUTS = ['account', 'person', 'service', 'source'] as const

type Readers = Pick<StatementReaders, 'record' | 'whole' | 'matching' | 'printable' | 'reason' | 'fail'>

/** Keys in canonical order. @throws {TxMalformed} */
export function parsePlayStatement(value: unknown, type: PlayStatement['type'], read: Readers): PlayStatement {
  const run = (fields: Record<string, unknown>): string => read.matching(fields.run, 'body.run', RUN, '16 hex digits')
  switch (type) {
    case 'play.start': {
      const fields = read.record(value, 'body', ['inputs', 'key', 'playbook', 'reason', 'type'])
      return {
        inputs: inputs(fields.inputs, read),
        key: read.printable(fields.key, 'body.key', 1, KEY_CHARS_MAX),
        playbook: read.matching(fields.playbook, 'body.playbook', NAME, 'the name of a playbook'),
        reason: read.reason(fields.reason),
        type,
      }
    }
    case 'play.claim': {
      const fields = read.record(value, 'body', ['attempt', 'run', 'step', 'type'])
      return {
        attempt: read.whole(fields.attempt, 'body.attempt'),
        run: run(fields),
        step: read.whole(fields.step, 'body.step'),
        type,
      }
    }
    case 'play.report': {
      const fields = read.record(value, 'body', ['attempt', 'note', 'ok', 'run', 'step', 'type'])
      if (typeof fields.ok !== 'boolean') return read.fail('body.ok must be true or false')
      return {
        attempt: read.whole(fields.attempt, 'body.attempt'),
        note: read.printable(fields.note, 'body.note', 0, NOTE_CHARS_MAX),
        ok: fields.ok,
        run: run(fields),
        step: read.whole(fields.step, 'body.step'),
        type,
      }
    }
    default: {
      const fields = read.record(value, 'body', ['reason', 'run', 'type'])
      return { reason: read.reason(fields.reason), run: run(fields), type }
    }
  }
}

function inputs(value: unknown, read: Readers): PlayInputs {
  const fields = read.record(value, 'body.inputs', [], INPUTS)
  return Object.fromEntries(
    INPUTS.flatMap((name) =>
      Object.hasOwn(fields, name) ? [[name, read.printable(fields[name], `body.inputs.${name}`, 1, 512)]] : [],
    ),
  )
}
