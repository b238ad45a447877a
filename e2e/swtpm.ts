/** A software TPM 2.0 for tests: swtpm, with an endorsement key and its certificate, on a socket of its own. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** Why there is none here; undefined: there is. */
export function swtpmMissing(): string | undefined {
  const missing = ['swtpm', 'swtpm_setup', 'tpm2_quote'].filter((name) => spawnSync('which', [name]).status !== 0)
  return missing.length === 0 ? undefined : `${missing.join(', ')} not found: apt-get install swtpm swtpm-tools tpm2-tools`
}

export class SoftTpm {
  readonly tcti: string
  /** PEM of who certified it. */
  readonly roots: string
  readonly #process: ChildProcess

  private constructor(tcti: string, roots: string, process: ChildProcess) {
    this.tcti = tcti
    this.roots = roots
    this.#process = process
  }

  /** @param directory A new folder, of a short path: sockets have at most 107 characters. */
  static async start(directory: string): Promise<SoftTpm> {
    const [state, authority] = [join(directory, 'state'), join(directory, 'ca')]
    for (const folder of [state, authority]) mkdirSync(folder, { recursive: true })
    const config = join(directory, 'localca.conf')
    writeFileSync(
      config,
      `statedir = ${authority}\nsigningkey = ${authority}/key.pem\nissuercert = ${authority}/issuer.pem\ncertserial = ${authority}/serial\n`,
    )
    const options = join(directory, 'localca.options')
    writeFileSync(options, '--platform-manufacturer test --platform-version 1 --platform-model test\n')
    const setup = join(directory, 'setup.conf')
    writeFileSync(
      setup,
      `create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = ${config}\ncreate_certs_tool_options = ${options}\nactive_pcr_banks = sha256\n`,
    )
    execFileSync('swtpm_setup', ['--tpm2', '--tpmstate', state, '--config', setup, '--create-ek-cert', '--lock-nvram'], {
      stdio: 'pipe',
    })
    const socket = join(directory, 'tpm')
    const server = ['--server', `type=unixio,path=${socket}`, '--ctrl', `type=unixio,path=${socket}.ctrl`]
    const child = spawn('swtpm', ['socket', '--tpm2', '--tpmstate', `dir=${state}`, ...server, '--flags', 'startup-clear'], {
      stdio: 'ignore',
    })
    for (let waited = 0; waited < 100 && !existsSync(socket); waited += 1) await sleep(50)
    const roots = join(directory, 'roots.pem')
    execFileSync('sh', ['-c', `cat ${authority}/*cert.pem ${authority}/issuer.pem > ${roots}`])
    return new SoftTpm(`swtpm:path=${socket}`, roots, child)
  }

  /** Extends a register, as what is started later would. @param digest SHA-256, hex. */
  extend(pcr: number, digest: string): void {
    execFileSync('tpm2_pcrextend', [`${pcr}:sha256=${digest}`, '-T', this.tcti], { stdio: 'pipe' })
  }

  end(): void {
    this.#process.kill('SIGKILL')
  }
}
