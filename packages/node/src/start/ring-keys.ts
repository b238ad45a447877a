/** This node's shares of the ring's keys, and what they do: signatures, and openings of what is sealed. */
import { join } from 'node:path'
import { type KeyName, publicKeyOf, type RingState } from '@ringwall/ring'
import { every } from '../in-step.ts'
import { KeyHolder } from '../signing/key-holder.ts'
import type { NodeShare } from '../signing/node-share.ts'
import { NonceNumbers } from '../signing/nonce-numbers.ts'
import { SigningService } from '../signing/signing-service.ts'
import { OpeningLog } from '../vault/opening-log.ts'
import { VaultService } from '../vault/vault-service.ts'
import type { Agreement } from './agreement.ts'
import type { Ground } from './ground.ts'
import type { OwnName } from './own-name.ts'
import type { ProviderTrust } from './providers.ts'
import type { Watches } from './watches.ts'

const KEY_TICK_MS = 500

export interface RingKeys {
  readonly signing: SigningService
  readonly vault: VaultService
  /** Those with this node's share. */
  readonly openings: OpeningLog
  /** Takes up what a block changed of the keys. */
  readonly follow: (state: RingState) => void
}

export async function openRingKeys(
  ground: Ground,
  agreement: Agreement,
  own: OwnName,
  watches: Watches,
  providers: ProviderTrust,
): Promise<RingKeys> {
  const { config, disk, closing } = ground
  const { ledger } = agreement
  const folder = join(config.data, 'keys')
  const signing = openSigning(ground, agreement, own, watches, providers)
  const signingHolder = await openHolder(ground, agreement, own, 'signing', folder, (share) =>
    signing.use(publicKeyOf(ledger.state().signingKey), share),
  )
  const openings = await OpeningLog.open(join(config.data, 'vault', 'openings.log'), disk.seal)
  closing.add(() => openings.close())
  const vault = openVault(ground, agreement, own, watches, openings)
  const sealingHolder = await openHolder(ground, agreement, own, 'sealing', join(folder, 'sealing'), (share) =>
    vault.use(publicKeyOf(ledger.state().sealingKey), share),
  )
  const stopTicking = every(KEY_TICK_MS, () => {
    signingHolder.tick()
    sealingHolder.tick()
  })
  closing.add(stopTicking)
  const follow = (state: RingState): void => {
    signing.use(publicKeyOf(state.signingKey), signingHolder.share)
    signingHolder.follow(state)
    vault.use(publicKeyOf(state.sealingKey), sealingHolder.share)
    sealingHolder.follow(state)
  }
  return { signing, vault, openings, follow }
}

function openSigning(
  { config, disk, events, closing }: Ground,
  { fabric, now }: Agreement,
  own: OwnName,
  { conduct }: Watches,
  { keys: providerKeys }: ProviderTrust,
): SigningService {
  const signing = new SigningService({
    self: config.id,
    fabric,
    view: () => now.view,
    people: () => now.state.people,
    transit: () => now.state.transit,
    providerKeys: (provider) => providerKeys.keys(provider),
    prepare: (request) => providerKeys.prepare(request),
    sign: (message) => own.sign(message),
    numbers: new NonceNumbers(join(config.data, 'keys', 'nonces.json'), disk.seal),
    events,
    onFault: (party, fault) => conduct.seen(party, 'share', fault),
  })
  closing.add(() => signing.stop())
  return signing
}

function openVault(
  { config, closing }: Ground,
  { fabric, ledger, now }: Agreement,
  own: OwnName,
  { insiders }: Watches,
  openings: OpeningLog,
): VaultService {
  const vault = new VaultService({
    self: config.id,
    fabric,
    view: () => now.view,
    state: () => ledger.state(),
    sign: (message) => own.sign(message),
    log: {
      add: (record) => {
        insiders.opened(record)
        return openings.add(record)
      },
    },
  })
  closing.add(() => vault.stop())
  return vault
}

async function openHolder(
  { config, seal, events, closing }: Ground,
  { foresight, ledger }: Agreement,
  own: OwnName,
  key: KeyName,
  directory: string,
  onShare: (share: NodeShare | undefined) => void,
): Promise<KeyHolder> {
  const holder = await KeyHolder.open({
    self: config.id,
    key,
    directory,
    seal,
    events,
    thread: foresight.thread,
    submit: (body) => own.submit(body),
    onShare,
  })
  closing.add(() => holder.stop())
  holder.follow(ledger.state())
  return holder
}
