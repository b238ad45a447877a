/** Feeds: decisions of others that a node takes in. */
import type { Feed, IndicatorSet, RingwallClient } from '@ringwall/client'
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

/** Sets of indicators that the node loaded, and what of their files it left out. */
export async function indicatorList(client: RingwallClient, format: Format): Promise<void> {
  const { indicators } = await client.feeds()
  printList<IndicatorSet>(
    format,
    indicators,
    [
      { title: 'NAME', value: ({ name }) => name },
      { title: 'FORMAT', value: ({ format: kind }) => kind },
      { title: 'HELD', value: ({ size }) => size },
      { title: 'MIB', value: ({ bytes }) => Math.ceil(bytes / 1_048_576) },
      { title: 'LOADED', value: ({ loadedMs }) => (loadedMs === null ? 'never' : `${duration(Date.now() - loadedMs)} ago`) },
      { title: 'OVER', value: ({ expired }) => expired },
      {
        title: 'LEFT OUT',
        value: ({ leftOut, full }) =>
          printable(
            [...leftOut, ...(full === 0 ? [] : [{ kind: 'too many', count: full }])]
              .map(({ kind, count }) => `${kind} ${count}`)
              .join(', '),
          ),
      },
      { title: 'PATH', value: ({ path }) => printable(path), wide: true },
      { title: 'PROBLEM', value: ({ problem }) => printable(problem ?? '') },
    ],
    ({ name }) => name,
    'the node has no indicators: indicators in node.yaml names their files',
  )
}
