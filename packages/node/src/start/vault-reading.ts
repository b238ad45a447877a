/** How parts of this node have secrets opened for it, in its own name. */
import type { AskNode, Reader, VaultFacts } from '@ringwall/vault'
import { factsOf } from '../hashicorp/face-node.ts'
import type { Agreement } from './agreement.ts'
import type { Ground } from './ground.ts'
import type { OwnName } from './own-name.ts'
import type { RingKeys } from './ring-keys.ts'
import type { RingView } from './ring-view.ts'
import type { Watches } from './watches.ts'

export interface VaultReading {
  readonly self: string
  readonly view: () => RingView['view']
  readonly state: () => RingView['state']
  readonly facts: () => VaultFacts
  readonly reader: Reader
  readonly ask: AskNode
}

export function vaultReading(
  { config, ring }: Ground,
  { ledger, now }: Agreement,
  own: OwnName,
  { onLiars }: Watches,
  { vault }: RingKeys,
): VaultReading {
  const view = (): RingView['view'] => now.view
  const state = (): RingView['state'] => ledger.state()
  return {
    self: config.id,
    view,
    state,
    facts: () => factsOf({ ring, view, state, onLiars }),
    reader: own.reader(),
    ask: (signed) => vault.open(signed),
  }
}
