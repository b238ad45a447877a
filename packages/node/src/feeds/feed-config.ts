/** `feeds` of `node.yaml`: whose decisions this node takes in. */

import { StartError } from '../errors.ts'
import { readTextFile } from '../text-file.ts'
import type { CrowdsecFeedConfig } from './crowdsec-feed.ts'

/** As `node.yaml` has it, its paths absolute. */
export interface FeedSettings {
  readonly kind: 'crowdsec'
  readonly name: string
  readonly url: string
  readonly key: string
  readonly ca: string | undefined
  readonly origins: readonly string[]
  readonly everyMs: number
  readonly decisionsMax: number
}

/** Reads the files that a feed names. @throws {StartError} */
export function openFeed({ name, url, key, ca, origins, everyMs, decisionsMax }: FeedSettings): CrowdsecFeedConfig {
  const secret = readTextFile(key, 'CONFIG_INVALID', `the key of the feed ${name}`).trim()
  if (!/^[\x21-\x7e]{8,512}$/.test(secret))
    throw new StartError('CONFIG_INVALID', `${key}: expected the key that cscli bouncers add printed, on one line`)
  const base = new URL(url.endsWith('/') ? url : `${url}/`)
  const authority = ca === undefined ? undefined : readTextFile(ca, 'CONFIG_INVALID', `the authority of the feed ${name}`)
  return { name, url: base, key: secret, ca: authority, origins, everyMs, decisionsMax }
}
