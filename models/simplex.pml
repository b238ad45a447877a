/*
 * Simplex as packages/consensus/src/voter.ts runs it, for spin: 4 validators, one of which lies, 3 rounds.
 *
 *     npm run model:consensus
 *
 * What is modelled. The network may delay anything for ever, so there are no channels: what was ever signed may be seen by
 * anybody at any later time, or never. The liar signs everything and shows it to whom it likes, so a certificate exists as
 * soon as QUORUM - 1 of the three honest validators signed. Each round may have two proposals, as if the liar led them all: an
 * honest leader's one is a case of that. A crash loses nothing, since votes are on disk before they are sent; a mutant below
 * shows what happens otherwise.
 *
 * What is checked, after every step: no two final blocks conflict, and no round with a final block is nullified.
 *
 * Mutants, by -D, each of which has to fail: FINALIZE_AFTER_NULLIFY, NOTARIZE_TWICE (a vote lost in a crash),
 * SKIP_WITHOUT_PROOF, SMALL_QUORUM.
 */
#define ROUNDS 3
#ifdef SMALL_QUORUM
#define NEEDED 1 /* 2f = 2, one of them the liar */
#else
#define NEEDED 2 /* n - f = 3, one of them the liar */
#endif

/*
 * An honest validator is one number, so that three can be sorted: they are alike, and order makes no difference. Five bits a
 * round: the block it notarized (2 bits: 1 or 2; 3 for both, which only the mutant does), the block it finalized (2 bits),
 * whether it nullified; then the round it is in.
 */
int v[3];
#define AT(r) (5 * ((r) - 1))
#define NOTARIZED_BY(i, r) ((v[i] >> AT(r)) & 3)
#define FINALIZED_BY(i, r) ((v[i] >> (AT(r) + 2)) & 3)
#define NULLIFIED_BY(i, r) ((v[i] >> (AT(r) + 4)) & 1)
#define ROUND_OF(i) (v[i] >> 15)
#define NOTARIZE(i, r, b) v[i] = v[i] | ((b) << AT(r))
#define FINALIZE(i, r, b) v[i] = v[i] | ((b) << (AT(r) + 2))
#define NULLIFY(i, r) v[i] = v[i] | (1 << (AT(r) + 4))
#define ENTER(i, r) v[i] = (v[i] & 32767) | ((r) << 15)

/* Block b of round r is number 2 (r - 1) + b; 0 is genesis. Of each, 1 + the number of its parent; 0: not proposed. */
byte proposed[7];
#define BLOCK(r, b) (2 * ((r) - 1) + (b))
#define ROUND(block) (((block) + 1) / 2)

#define VOTED(i, r, b) (NOTARIZED_BY(i, r) == b || NOTARIZED_BY(i, r) == 3)
#define NOTARIZED(r, b) (VOTED(0, r, b) + VOTED(1, r, b) + VOTED(2, r, b) >= NEEDED)
#define FINAL(r, b) ((FINALIZED_BY(0, r) == b) + (FINALIZED_BY(1, r) == b) + (FINALIZED_BY(2, r) == b) >= NEEDED)
#define NULLIFIED(r) (NULLIFIED_BY(0, r) + NULLIFIED_BY(1, r) + NULLIFIED_BY(2, r) >= NEEDED)

/* #sign, the one place that makes votes: says nothing rather than contradict what was said. */
#ifdef FINALIZE_AFTER_NULLIFY
#define MAY_FINALIZE(i, r) (FINALIZED_BY(i, r) == 0)
#else
#define MAY_FINALIZE(i, r) (FINALIZED_BY(i, r) == 0 && !NULLIFIED_BY(i, r))
#endif

/* #isJustified: every round between parent and block is nullified. */
#ifdef SKIP_WITHOUT_PROOF
#define SKIPPED(from, to) (true)
#else
#define SKIPPED(from, to) ((from >= 1 || to <= 1 || NULLIFIED(1)) && (from >= 2 || to <= 2 || NULLIFIED(2)))
#endif

/* Of no meaning between steps. */
byte at, block, other;
int swap;

/* Is final block (r, b) an ancestor of every final block, or a descendant? Walks down from each. */
inline check() {
  at = 1;
  do
  :: at <= 6 ->
    if
    :: FINAL(ROUND(at), 2 - at % 2) ->
      assert(!NULLIFIED(ROUND(at)));
      other = 1;
      do
      :: other <= 6 ->
        if
        :: ROUND(other) >= ROUND(at) && FINAL(ROUND(other), 2 - other % 2) ->
          block = other;
          do
          :: ROUND(block) > ROUND(at) -> block = proposed[block] - 1
          :: else -> break
          od;
          assert(block == at)
        :: else
        fi;
        other++
      :: else -> break
      od
    :: else
    fi;
    at++
  :: else -> break
  od
}

inline sort() {
  if :: v[0] > v[1] -> swap = v[0]; v[0] = v[1]; v[1] = swap :: else fi;
  if :: v[1] > v[2] -> swap = v[1]; v[1] = v[2]; v[2] = swap :: else fi;
  if :: v[0] > v[1] -> swap = v[0]; v[0] = v[1]; v[1] = swap :: else fi
}

/* One step, with what is checked after it. */
#define STEP(condition, effect) :: d_step { condition -> effect; check(); sort(); at = 0; block = 0; other = 0; swap = 0 }

/*
 * Block b of round r, on a parent that certificates can be shown for, is the first proposal of the round that validator i is
 * in and has not nullified: it notarizes (#onVerified). What nobody voted for might as well not have been proposed, so a
 * block comes into being with its first vote; certificates never go away.
 */
#define ON_PROPOSAL(i, r, b, parent) \
  STEP(ROUND_OF(i) == r && !NULLIFIED_BY(i, r) && NOTARIZED_BY(i, r) == 0 && \
       (proposed[BLOCK(r, b)] == parent + 1 || \
        (proposed[BLOCK(r, b)] == 0 && (b == 1 || proposed[BLOCK(r, 1)] != 0) && \
         (parent == 0 || NOTARIZED(ROUND(parent), 2 - parent % 2)) && SKIPPED(ROUND(parent), r))), \
       proposed[BLOCK(r, b)] = parent + 1; NOTARIZE(i, r, b))

/* The timer, or others' nullify votes (#onTimeout, #countVotes). */
#define ON_TIMER(i, r) STEP(ROUND_OF(i) == r && !NULLIFIED_BY(i, r) && FINALIZED_BY(i, r) == 0, NULLIFY(i, r))

/* A notarization of its round or one ahead: finalize if it may, and enter the next round (#onNotarized, #advance). */
#define ON_NOTARIZATION(i, r, b) \
  STEP(r >= ROUND_OF(i) && NOTARIZED(r, b) && MAY_FINALIZE(i, r), FINALIZE(i, r, b); ENTER(i, r + 1)) \
  STEP(r >= ROUND_OF(i) && NOTARIZED(r, b) && !(MAY_FINALIZE(i, r)), ENTER(i, r + 1))

#define ON_NULLIFICATION(i, r) STEP(r >= ROUND_OF(i) && NULLIFIED(r), ENTER(i, r + 1))

#ifdef NOTARIZE_TWICE
#define FORGET(i, r) \
  STEP(ROUND_OF(i) == r && !NULLIFIED_BY(i, r) && NOTARIZED_BY(i, r) != 0 && proposed[BLOCK(r, 1)] != 0, \
       proposed[BLOCK(r, 2)] = proposed[BLOCK(r, 1)]; NOTARIZE(i, r, 3))
#else
#define FORGET(i, r)
#endif

#define IN_ROUND(i, r) \
  ON_TIMER(i, r) FORGET(i, r) ON_NOTARIZATION(i, r, 1) ON_NOTARIZATION(i, r, 2) ON_NULLIFICATION(i, r)
#define ON_PROPOSALS(i, b) \
  ON_PROPOSAL(i, 1, b, 0) \
  ON_PROPOSAL(i, 2, b, 0) ON_PROPOSAL(i, 2, b, 1) ON_PROPOSAL(i, 2, b, 2) \
  ON_PROPOSAL(i, 3, b, 0) ON_PROPOSAL(i, 3, b, 1) ON_PROPOSAL(i, 3, b, 2) ON_PROPOSAL(i, 3, b, 3) ON_PROPOSAL(i, 3, b, 4)
#define VALIDATOR(i) IN_ROUND(i, 1) IN_ROUND(i, 2) IN_ROUND(i, 3) ON_PROPOSALS(i, 1) ON_PROPOSALS(i, 2)

init {
  d_step { ENTER(0, 1); ENTER(1, 1); ENTER(2, 1) }
  do
  VALIDATOR(0) VALIDATOR(1) VALIDATOR(2)
  od
}
