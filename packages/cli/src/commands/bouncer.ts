/** Bouncers: programs elsewhere that enforce denials. The policy lists them, with hashes of their keys. */
import type { Bouncer, RingwallClient } from '@ringwall/client'
import { UsageError } from '../errors.ts'
import { duration, printable } from '../format.ts'
import { type Format, printList, write } from '../output.ts'
import { changeListed, type ListChange, newKey } from './policy-list.ts'

interface Listed {
  readonly name: string
  readonly keyHash: string
}

/** Of the list: a bouncer that asked, from where. */
interface Row {
  readonly name: string
  readonly pull: Bouncer['pulls'][number] | undefined
}

/** Prints the key, once: nobody can show it again. */
export async function bouncerAdd(client: RingwallClient, name: string, options: ListChange): Promise<void> {
  const { key, keyHash } = newKey()
  const edit = (before: readonly Listed[]): readonly Listed[] => {
    if (before.some((one) => one.name === name))
      throw new UsageError(`there is a bouncer ${name} already; ringwall bouncer rm ${name} takes its key back`)
    return [...before, { name, keyHash }]
  }
  if (!(await changeListed<Listed>(client, 'bouncers', options, edit, `${name} is a bouncer of the ring`))) return
  write(key)
  process.stderr.write(`its key is above: the policy holds its hash alone. Have it ask ${client.baseUrl}/ or another node\n`)
}

export async function bouncerRemove(client: RingwallClient, name: string, options: ListChange): Promise<void> {
  const edit = (before: readonly Listed[]): readonly Listed[] => {
    if (!before.some((one) => one.name === name))
      throw new UsageError(`no bouncer is called ${name}; ringwall bouncer ls lists them`)
    return before.filter((one) => one.name !== name)
  }
  await changeListed<Listed>(client, 'bouncers', options, edit, `the key of ${name} is good for nothing any more`)
}

/** One row for each place from which a bouncer asked. */
export async function bouncerList(client: RingwallClient, format: Format): Promise<void> {
  const { bouncers, silent } = await client.bouncers()
  if (silent.length > 0) process.stderr.write(`no answer from ${silent.join(', ')}: who asked there is not shown\n`)
  if (format === 'json' || format === 'jsonl' || format === 'yaml' || format === 'name') {
    printList<Bouncer>(format, bouncers, [], ({ name }) => name, '')
    return
  }
  const rows: readonly Row[] = bouncers.flatMap(({ name, pulls }) => {
    const asked: readonly Row[] = pulls.map((pull) => ({ name, pull }))
    return asked.length === 0 ? [{ name, pull: undefined }] : asked
  })
  printList<Row>(
    format,
    rows,
    [
      { title: 'NAME', value: ({ name }) => name },
      { title: 'LAST ASKED', value: ({ pull }) => (pull === undefined ? 'never' : `${duration(Date.now() - pull.lastMs)} ago`) },
      { title: 'NODE', value: ({ pull }) => pull?.node ?? '' },
      { title: 'FROM', value: ({ pull }) => printable(pull?.source ?? '') },
      { title: 'HOW', value: ({ pull }) => pull?.kind ?? '' },
      { title: 'BEHIND', value: ({ pull }) => pull?.behind ?? '' },
      { title: 'AGENT', value: ({ pull }) => printable(pull?.agent ?? '') },
    ],
    ({ name }) => name,
    'there are no bouncers; ringwall bouncer add NAME makes one',
  )
}
