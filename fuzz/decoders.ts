/** Every decoder of bytes that come from the network or from disk, with valid samples and what it promises. */
import type { Decoder } from './decoder.ts'
import { DETECTION_DECODERS } from './detection-decoders.ts'
import { body, requestHead, response, rules, target } from './http-decoders.ts'
import { CONSENSUS_DECODERS, LEDGER_DECODERS } from './ledger-decoders.ts'
import { framing, hello, logRecord, x509 } from './link-decoders.ts'
import { LISTENER_DECODERS } from './listener-decoders.ts'
import { contexts, eventStream, nodeConfig, trace } from './node-decoders.ts'
import { address, base64url, check, genesisDocument, policyDocument, snapshot, transaction } from './ring-decoders.ts'
import { bearer, operatorToken, strictJson } from './token-decoders.ts'

export const DECODERS: readonly Decoder[] = [
  ...CONSENSUS_DECODERS,
  ...LEDGER_DECODERS,
  logRecord,
  framing,
  hello,
  x509,
  transaction,
  check,
  genesisDocument,
  snapshot,
  policyDocument,
  base64url,
  address,
  strictJson,
  operatorToken,
  bearer,
  requestHead,
  response,
  body,
  target,
  trace,
  contexts,
  eventStream,
  nodeConfig,
  rules,
  ...LISTENER_DECODERS,
  ...DETECTION_DECODERS,
]
