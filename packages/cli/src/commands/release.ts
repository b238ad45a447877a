/** Releases: made and signed beside no ring, agreed on by one, installed on machines. */
import { writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Operations, RingwallClient } from '@ringwall/client'
import { generateKey, installRelease, makeRelease, rawPublicKey, readHeader, readPrivateKey, versionOf } from '@ringwall/node'
import { UsageError } from '../errors.ts'
import { time } from '../format.ts'
import { type Format, printList } from '../output.ts'
import { settle } from './device.ts'

type Release = Operations['fleet']['answer']['releases'][number]

/** A key that releases are signed with; the policy names its public half. */
export function releaseKey(file: string): void {
  const { privateKey } = generateKey()
  writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600, flag: 'wx' })
  const key = Buffer.from(rawPublicKey(privateKey)).toString('base64url')
  process.stdout.write(`${key}\n`)
  process.stderr.write(
    `made ${file}: keep it off the nodes. Rings that are to take its releases have in their policy:\n  fleet:\n    keys: [${key}]\n`,
  )
}

export async function releaseMake(
  root: string,
  options: { readonly key: string; readonly out: string | undefined; readonly programs: readonly string[] },
): Promise<void> {
  const wrong = options.programs.find((digest) => !/^[0-9a-f]{64}$/.test(digest))
  if (wrong !== undefined)
    throw new UsageError(`--program ${wrong}: expected 64 hex digits, as ringwall device trust -o wide shows them`)
  const version = versionOf(root)
  const out = options.out ?? `ringwall-${version}.release`
  const { header, digest, key } = await makeRelease(resolve(root), out, {
    version,
    key: readPrivateKey(options.key),
    programs: options.programs,
  })
  process.stdout.write(`${digest}\n`)
  process.stderr.write(
    `made ${out}: ${version}, ${header.files} files, ${header.bytes} bytes, signed by ${key}. An operator has the ring take it:\n  ringwall release add ${out}\n`,
  )
}

export async function releaseAdd(client: RingwallClient, file: string, reason: string, dryRun: boolean): Promise<void> {
  const { header, key, signature, digest } = await readHeader(file)
  const done = `the ring knows release ${header.version}, ${digest.slice(0, 16)}…: put ${file} into the releases folder of one node, and name the version in fleet.updates`
  const body = { type: 'release.add', header, key, signature, reason } as const
  await settle(client, body, `have the ring take release ${header.version}, ${digest.slice(0, 16)}…`, done, dryRun)
}

export async function releaseRemove(client: RingwallClient, version: string, reason: string, dryRun: boolean): Promise<void> {
  const body = { type: 'release.remove', version, reason } as const
  await settle(client, body, `let go of release ${version}`, `the ring knows no release ${version} any more`, dryRun)
}

export async function releaseList(client: RingwallClient, format: Format): Promise<void> {
  const { releases, nodes } = await client.fleet()
  printList<Release>(
    format,
    releases,
    [
      { title: 'VERSION', value: ({ version }) => version },
      { title: 'RUN BY', value: ({ version }) => nodes.filter((node) => node.version === version).length },
      { title: 'FILES', value: ({ files }) => files },
      { title: 'BYTES', value: ({ bytes }) => bytes },
      { title: 'TAKEN', value: ({ atMs }) => time(atMs) },
      { title: 'BY', value: ({ by }) => by },
      { title: 'DIGEST', value: ({ digest }) => digest, wide: true },
      { title: 'KEY', value: ({ key }) => key, wide: true },
      { title: 'PROGRAMS', value: ({ programs }) => programs.join(','), wide: true },
    ],
    ({ version }) => version,
    'no releases; ringwall release add has the ring take one',
  )
}

export async function releaseInstall(archive: string, folder: string, key: string): Promise<void> {
  const { header } = await installRelease(archive, folder, key)
  const program = `${resolve(folder)}/current/packages/cli/bin/ringwall.mjs`
  process.stderr.write(
    `installed ${header.version} in ${folder}. Start the node with:\n  node ${program} fleet run --folder ${resolve(folder)} --config node.yaml\n`,
  )
}
