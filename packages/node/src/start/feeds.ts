/** Others whose decisions and indicators this node takes in. */
import { join } from 'node:path'
import { CrowdsecFeed } from '../feeds/crowdsec-feed.ts'
import { openFeed } from '../feeds/feed-config.ts'
import type { FeedStatus } from '../feeds/feed-pulls.ts'
import { TaxiiFeed } from '../feeds/taxii-feed.ts'
import { openTaxiiSource } from '../indicators/indicator-config.ts'
import type { Agreement } from './agreement.ts'
import type { Denials } from './denials.ts'
import type { Ground } from './ground.ts'
import type { Judging } from './judging.ts'

export class NodeFeeds {
  readonly #crowdsec: readonly CrowdsecFeed[]
  readonly #taxii: readonly TaxiiFeed[]
  readonly #closing: Ground['closing']

  /** @throws {StartError} For a feed's key that cannot be read. */
  constructor(ground: Ground, { now }: Agreement, { deny, withdraw }: Denials, { indicators }: Judging) {
    const { config, disk, log, closing } = ground
    this.#closing = closing
    this.#crowdsec = config.feeds.map(
      (settings) => new CrowdsecFeed({ config: openFeed(settings), view: () => now.view, deny, withdraw, log }),
    )
    this.#taxii = (config.taxiiSources ?? []).map(
      (source) =>
        new TaxiiFeed({
          config: openTaxiiSource(source),
          folder: join(config.data, 'taxii', source.name),
          seal: disk.seal,
          log,
          onChange: () => void indicators.look(),
        }),
    )
  }

  status(): readonly FeedStatus[] {
    return [...this.#crowdsec, ...this.#taxii].map((feed) => feed.status())
  }

  startCrowdsec(): void {
    for (const feed of this.#crowdsec) {
      feed.start()
      this.#closing.add(() => feed.stop())
    }
  }

  async startTaxii(): Promise<void> {
    for (const feed of this.#taxii) {
      await feed.start()
      this.#closing.add(() => feed.stop())
    }
  }
}
