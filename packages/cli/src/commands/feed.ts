/** Feeds: decisions of others that a node takes in. */
import type { Feed, RingwallClient } from '@ringwall/client'
import { duration, printable } from '../format.ts'
import { type Format, printList } from '../output.ts'

export async function feedList(client: RingwallClient, format: Format): Promise<void> {
  const { feeds } = await client.feeds()
  printList<Feed>(
    format,
    feeds,
    [
      { title: 'NAME', value: ({ name }) => name },
      { title: 'FROM', value: ({ url }) => printable(url) },
      { title: 'ANSWERED', value: ({ lastMs }) => (lastMs === null ? 'never' : `${duration(Date.now() - lastMs)} ago`) },
      { title: 'HELD', value: ({ held }) => held },
      { title: 'REFUSED', value: ({ refused }) => refused },
      { title: 'LEFT OUT', value: ({ leftOut }) => leftOut },
      { title: 'PROBLEM', value: ({ problem }) => printable(problem ?? '') },
    ],
    ({ name }) => name,
    'the node takes in nothing: feeds in node.yaml names whose decisions it is to take in',
  )
}
