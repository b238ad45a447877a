/** The name of a run. Safe for browsers. */
import { canonicalJson } from './canonical-json.ts'
import { encodeUtf8 } from './encoding.ts'
import { portableSha256 } from './sha256.ts'

/** Of one key of one playbook there is one run: whoever says it again means that. 16 hex digits. */
export function playId(playbook: string, key: string): string {
  return portableSha256(encodeUtf8(`RINGWALL_PLAY_V1\n${canonicalJson([playbook, key])}`)).slice(0, 16)
}
