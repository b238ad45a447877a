/** Who asks the vault: an operator, or a service with its certificate. */
import { Option } from 'commander'
import type { VaultSession } from '../commands/vault-session.ts'

export interface SessionGlobals {
  readonly context?: string
  readonly identity?: string
  readonly node: readonly string[]
}

export const serviceOption = (): Option =>
  new Option('--identity <dir>', 'as the service whose certificate ringwall identity mint wrote there')

/** A service names its nodes by URL, an operator has them in the context. */
export async function vaultSession({ identity: directory, context, node }: SessionGlobals): Promise<VaultSession> {
  const { operatorSession, serviceSession } = await import('../commands/vault-session.ts')
  if (directory !== undefined) return serviceSession(directory, node)
  return operatorSession({ ...(context === undefined ? {} : { context }), node })
}
