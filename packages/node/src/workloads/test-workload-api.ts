/** The Workload API of one node on a socket of its own, over signers of a test, for tests. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { UnixSelectorPolicy, View } from '@ringwall/ring'
import { signMessage } from '../keys.ts'
import type { Member, Signers } from '../signing/test-signers.ts'
import { WorkloadApi } from './workload-api.ts'

const isLinux = process.platform === 'linux' && (process.arch === 'x64' || process.arch === 'arm64')
export const skip: string | false = isLinux ? false : 'the Workload API needs Linux'
/** This process, as the policy names it. */
export const own: number = process.geteuid?.() ?? -1

export interface TestWorkloadApi {
  readonly api: WorkloadApi
  readonly socket: string
  readonly said: readonly string[]
  /** Puts another view in force. */
  change(changes: Partial<View>): void
  /** Puts another policy in force. */
  policy(workloads: Readonly<Record<string, readonly UnixSelectorPolicy[]>>): void
  /** The same, with programs of this user as these services. */
  services(names: readonly string[]): void
}

/** @param view That the test begins with. */
export async function startWorkloadApi(
  t: TestContext,
  signers: Signers,
  view: View,
  services: readonly string[],
): Promise<TestWorkloadApi> {
  signers.view = view
  const folder = mkdtempSync(join(tmpdir(), 'ringwall-workload-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const [{ key, service }] = signers.members as [Member]
  const said: string[] = []
  const socket = join(folder, 'api.sock')
  const api = new WorkloadApi({
    self: 'n1',
    socket,
    view: () => signers.view,
    denied: (of) => signers.view.denials.matchCredential(of, Date.now()),
    sign: (message) => signMessage(key, message),
    mint: (asked) => service.mint(asked, 30_000),
    say: (_level, line) => said.push(line),
  })
  let policyVersion = 0
  const made: TestWorkloadApi = {
    api,
    socket,
    said,
    change: (changes) => {
      signers.view = { ...signers.view, ...changes }
      api.review()
    },
    policy: (workloads) => {
      policyVersion += 1
      const named = Object.entries(workloads).map(([name, unix]) => [name, { nodes: ['n1'], unix: [...unix], ttl: 600_000 }])
      made.change({ policyVersion, policy: { ...signers.view.policy, workloads: Object.fromEntries(named) } })
    },
    services: (names) => made.policy(Object.fromEntries(names.map((name) => [name, [{ uid: own }]]))),
  }
  made.services(services)
  await api.start()
  t.after(() => api.stop())
  return made
}
