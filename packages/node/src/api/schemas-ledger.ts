/** The ledger: blocks, transactions, approvals, and what happened. */
import { choice, described, flag, list, ms, number, object, orNull, ref, type Schema, text, whole } from './shapes.ts'

export const ledgerSchemas: Readonly<Record<string, Schema>> = {
  TransactionRequest: object('A signed transaction.', {
    tx: described(
      '`{content, signature}`; the signature is Ed25519 over `RINGWALL_TX_V1`, a newline and the content as canonical JSON (RFC 8785).',
      { type: 'object' },
    ),
    'waitMs?': described('How long to wait for finality.', { type: 'integer', minimum: 0, maximum: 60_000 }),
  }),
  Committed: object('Final, and on this node’s disk.', {
    id: text,
    height: whole,
    digest: text,
    elapsedMs: number,
    'waits?': ref('WaitsForApproval'),
  }),
  WaitsForApproval: object('Final, but not applied before more operators have approved it.', {
    id: described('To be named when approving.', text),
    signedBy: list(text),
    needed: described('How many operators must have signed.', whole),
    lapsesAtMs: ms,
  }),
  PendingApproval: object('A statement that waits for operators.', {
    id: text,
    type: text,
    issuer: text,
    atMs: ms,
    summary: text,
    signedBy: list(text),
    needed: whole,
    lapsesAtMs: ms,
    changes: described('Of a policy, against the one in force.', list(ref('PolicyChange'))),
  }),
  Approvals: object('What waits for operators, oldest first.', { approvals: list(ref('PendingApproval')) }),
  Waiting: object('Enforced provisionally, waiting for a quorum.', { id: text, provisional: flag, waiting: text }),
  BlockSummary: object('A final block.', {
    height: whole,
    round: whole,
    digest: text,
    parent: text,
    proposer: text,
    timestampMs: ms,
    transactions: whole,
  }),
  Blocks: object('Final blocks, newest first.', { height: whole, blocks: list(ref('BlockSummary')) }),
  TransactionSummary: object('A transaction in a block.', { id: text, type: text, issuer: text, summary: text }),
  BlockDetail: object('A final block with its transactions and who certified it.', {
    height: whole,
    round: whole,
    digest: text,
    parent: text,
    proposer: text,
    timestampMs: ms,
    transactions: list(ref('TransactionSummary')),
    certificate: object('A quorum’s signatures on this block or a descendant.', {
      kind: text,
      round: whole,
      digest: orNull(text),
      signers: list(text),
    }),
  }),
  NodeEvent: object('What happened on the node.', {
    atMs: ms,
    kind: text,
    level: choice('info', 'warn', 'bad'),
    what: text,
    node: text,
  }),
  NodeEvents: object('Newest first.', { events: list(ref('NodeEvent')) }),
  OperationActivity: object('A declared operation, and how often it was asked of this node.', {
    service: text,
    operation: described('Method and path as declared.', text),
    requests: whole,
    outside: described('Of these, outside of what is declared.', whole),
    lastAtMs: orNull(ms),
  }),
}
