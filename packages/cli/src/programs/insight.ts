/** The verbs of looking and proving: requests, traces, events, the ledger, images, drills, receipts, the console. */
import { type Command, Option } from 'commander'
import type { DrillOptions } from '../commands/drill.ts'
import { parseDuration, parseTtl } from '../format.ts'
import { FORMATS, type Format, parseFormat } from '../output.ts'
import { parseSecretName } from '../secret-name.ts'
import { collect, watch, whole, withRing } from './options.ts'

export function addInsight(program: Command): void {
  withRing(
    program
      .command('explain')
      .argument('<request-id>', 'as in the response’s x-request-id')
      .description('why a request was answered as it was'),
    ([id]) =>
      async (client, format) =>
        (await import('../commands/explain.ts')).explain(client, format, id as string),
  )
  withRing(
    program
      .command('top')
      .description('what was asked most')
      .option('--by <key>', 'source, path, rule, service', 'source')
      .option('--window <duration>', 'of the last', '5m')
      .addOption(watch()),
    (_args, options) => async (client, format) =>
      (await import('../commands/ring.ts')).top(
        client,
        format,
        options.by as string,
        parseTtl(options.window as string, '--window'),
      ),
  )
  withRing(
    program.command('events').description('what happened').option('-f, --follow', 'and what happens'),
    (_args, options) => async (client, format) =>
      (await import('../commands/ring.ts')).events(client, format, options.follow === true),
  )

  const ledger = program.command('ledger').description('the ledger: ls, show, tail; as files: verify, backup, restore')
  withRing(
    ledger
      .command('ls')
      .description('newest blocks')
      .option('--limit <n>', 'how many', whole('--limit', 1, 200), 20)
      .addOption(watch()),
    (_args, options) => async (client, format) =>
      (await import('../commands/ring.ts')).ledgerList(client, format, options.limit as number),
  )
  withRing(
    ledger.command('show').argument('<height>').description('one block'),
    ([height]) =>
      async (client, format) =>
        (await import('../commands/ring.ts')).ledgerShow(client, format, height as string),
  )
  withRing(
    ledger.command('tail').description('blocks as they come'),
    () => async (client) => (await import('../commands/ring.ts')).ledgerTail(client),
  )

  const onFiles = (command: Command): Command =>
    command
      .requiredOption('--config <file>', 'the node’s configuration: node.yaml')
      .addOption(new Option('-o, --output <format>', FORMATS.join(', ')).default('table').argParser(parseFormat))
  onFiles(ledger.command('verify').argument('[backup]', 'a backup, instead of the node’s own ledger'))
    .description('check every hash, link, certificate and execution, without a ring')
    .action(async (backup: string | undefined, { config, output }: { config: string; output: Format }) => {
      const [{ verifyLedgerFiles }, { printReport }] = await Promise.all([
        import('@ringwall/node'),
        import('../commands/ledger-files.ts'),
      ])
      printReport(output, await verifyLedgerFiles(config, backup))
    })
  onFiles(ledger.command('backup').argument('<folder>', 'a new folder'))
    .description('copy the ledger, beside a running node, and verify the copy')
    .action(async (folder: string, { config, output }: { config: string; output: Format }) => {
      const [{ backupLedger }, { printReport }] = await Promise.all([
        import('@ringwall/node'),
        import('../commands/ledger-files.ts'),
      ])
      printReport(output, await backupLedger(config, folder))
    })
  onFiles(ledger.command('restore').argument('<folder>', 'what backup wrote'))
    .description('put a backup into the empty ledger of a stopped node, if it verifies')
    .action(async (folder: string, { config, output }: { config: string; output: Format }) => {
      const [{ restoreLedger }, { printReport }] = await Promise.all([
        import('@ringwall/node'),
        import('../commands/ledger-files.ts'),
      ])
      printReport(output, await restoreLedger(config, folder))
    })

  const recovery = program
    .command('recovery')
    .description('images of nodes, for the day when none is left: backup, part, restore')
  recovery
    .command('backup')
    .description('an image of a node, encrypted to the operators; beside the running node, and only what is new')
    .requiredOption('--config <file>', 'the node’s configuration: node.yaml')
    .requiredOption('--key <key>', 'the operators’ key, as ringwall node recovery printed it')
    .requiredOption('--to <folder>', 'of this node’s images')
    .option('--every <duration>', 'again and again, as 30s; it runs until it is stopped', parseDuration)
    .action(async ({ config, key, to, every }: { config: string; key: string; to: string; every?: number }) => {
      const { recoveryBackup } = await import('../commands/recovery.ts')
      await recoveryBackup(config, key, to, every)
    })
  recovery
    .command('part')
    .argument('<image>')
    .description('an operator’s part of opening an image: of this image alone')
    .requiredOption('--share <file>', 'the operator’s share; - reads it from standard input')
    .action(async (image: string, { share }: { share: string }) => {
      const [{ imagePart }, { readFileSync }] = await Promise.all([import('@ringwall/node'), import('node:fs')])
      process.stdout.write(`${imagePart(image, readFileSync(share === '-' ? 0 : share, 'utf8'))}\n`)
    })
  recovery
    .command('restore')
    .argument('<image>')
    .description('put a node back on an empty machine')
    .requiredOption('--directory <dir>', 'a new folder')
    .requiredOption('--part <text>', 'as recovery part printed it; once for each operator', collect, [])
    .option('--whole-ring', 'no node of the ring is alive: it goes on from its images', false)
    .action(async (image: string, given: { directory: string; part: readonly string[]; wholeRing: boolean }) => {
      const { restoreNode } = await import('@ringwall/node')
      const { node, atMs, files, config } = restoreNode(image, given.part, given.directory, given.wholeRing)
      process.stdout.write(`${config}\n`)
      process.stderr.write(`${node} as of ${new Date(atMs).toISOString()}: ${files} files\n`)
    })

  const drill = program.command('drill').description('rehearsals: restore')
  drill
    .command('restore')
    .description('put the newest images back on empty nodes in a network of their own, use them, and print time and loss')
    .requiredOption('--images <folder>', 'one node’s images, or a folder of such folders')
    .option('--share <file>', 'an operator’s share; as many as are needed, else nothing is opened', collect, [])
    .option('--context <file>', 'an operator’s context: asks the restored nodes, and how far the living ring is')
    .option('--secret <name>', 'opened as a proof', parseSecretName)
    .option('--object <bucket/key>', 'read as a proof, with the access key in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY')
    .option('--directory <dir>', 'where the scratch folder is made, and removed')
    .addOption(new Option('-o, --output <format>', FORMATS.join(', ')).default('table').argParser(parseFormat))
    .action(async (given: DrillOptions) => (await import('../commands/drill.ts')).drillRestore(given))
  drill
    .command('inside', { hidden: true })
    .argument('<spec>')
    .action(async (spec: string) => (await import('../commands/drill-inside.ts')).drillInside(spec))

  const receipt = program.command('receipt').description('a decision with its proof: export, verify')
  withRing(
    receipt
      .command('export')
      .argument('<request-id>', 'the x-request-id of a response')
      .description('a decision, signed and proven, as JSON on standard output'),
    ([requestId]) =>
      async (client) =>
        (await import('../commands/receipt.ts')).receiptExport(client, requestId as string),
  )
  receipt
    .command('verify')
    .argument('<file>', 'what export wrote')
    .description('check a receipt without a ring, a network or a key')
    .requiredOption('--genesis <file>', 'the ring’s genesis document')
    .addOption(new Option('-o, --output <format>', FORMATS.join(', ')).default('table').argParser(parseFormat))
    .action(async (file: string, { genesis, output }: { genesis: string; output: Format }) => {
      const [{ verifyReceiptFile }, { printVerdict }] = await Promise.all([
        import('@ringwall/node'),
        import('../commands/receipt.ts'),
      ])
      printVerdict(output, verifyReceiptFile(file, genesis))
    })

  withRing(
    program.command('console').description('the link that opens the console, signed in'),
    (_args, options) => async (client) =>
      (await import('../commands/console.ts')).consoleLink(client, options.context as string | undefined),
  )
}
