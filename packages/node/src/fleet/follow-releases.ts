/** A node that a launcher started: the releases that it has, and its way from one to the next. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { EventLog } from '../events.ts'
import { FOLDER_VARIABLE, tellLauncher, termsOf } from './launcher-messages.ts'
import { type ReleasePeers, ReleaseShelf } from './release-shelf.ts'
import { Slots } from './slots.ts'
import { Updater, type UpdaterOptions } from './updater.ts'

export interface FollowedReleases {
  /** What peers ask for. */
  readonly answer: (request: IncomingMessage, response: ServerResponse) => Promise<boolean>
  start(options: Omit<UpdaterOptions, 'slots' | 'shelf' | 'terms' | 'tell' | 'events'>): void
  stop(): void
}

/** Undefined of a node that was started in another way: it stays what it is. */
export function followReleases(options: ReleasePeers & { readonly events: Pick<EventLog, 'add'> }): FollowedReleases | undefined {
  const folder = process.env[FOLDER_VARIABLE]
  if (folder === undefined) return undefined
  const { events } = options
  const slots = new Slots(folder)
  const shelf = new ReleaseShelf({ slots, peers: options, say: (level, line) => events.add('node', level, line) })
  let updater: Updater | undefined
  return {
    answer: (request, response) => shelf.answer(request, response),
    start(more) {
      updater = new Updater({ ...more, slots, shelf, terms: termsOf(process.env), tell: tellLauncher, events })
      updater.start()
    },
    stop: () => updater?.stop(),
  }
}
