/*
 * Simplex as packages/consensus/src/voter.ts runs it, for spin: 4 validators, one of which lies, ROUNDS rounds.
 *
 *     npm run model:consensus
 *
 * What is modelled. The network may delay anything for ever, so there are no channels: what was ever signed may be seen by anybody
 * at any later time, or never. The liar signs everything and shows it to whom it likes, so a certificate exists as soon as
 * QUORUM - 1 of the three honest validators signed. A round is led by an honest validator, with one block, or by the liar, with
 * two; which, is open for each round. A crash loses nothing, since votes are on disk before they are sent; the mutants below
 * show what happens when they are not.
 *
 * What is checked, after every step: no two final blocks conflict, and no round with a final block is nullified.
 *
 * Mutants, by -D: FINALIZE_AFTER_NULLIFY, NULLIFY_AFTER_FINALIZE, NOTARIZE_TWICE (votes lost in a crash),
 * SKIP_WITHOUT_PROOF, SMALL_QUORUM. Each of them has to fail.
 */
#ifndef ROUNDS
#define ROUNDS 3
#endif
#define HONEST 3
#ifdef SMALL_QUORUM
#define NEEDED 1 /* 2f = 2, one of them the liar */
#else
#define NEEDED 2 /* n - f = 3, one of them the liar */
#endif

/* A block is one of two of its round: 1 or 2; 0 is none. Round 0 is genesis, notarized and never nullified. */
typedef Validator {
  byte round;                  /* the round it is in: #round */
  byte notarized[ROUNDS + 1];  /* which block it voted for: own.notarize */
  byte finalized[ROUNDS + 1];  /* own.finalize */
  bool nullified[ROUNDS + 1];  /* own.nullify */
}
typedef Proposed {
  bool is[3];
  byte parentRound[3];
  byte parentBlock[3];
}
Validator v[HONEST];
Proposed p[ROUNDS + 1];
bool liarLeads[ROUNDS + 1];

/* 3: for both, which only a validator does that forgot the first. */
#define VOTED(i, at, b) (v[i].notarized[at] == b || v[i].notarized[at] == 3)
#define NOTARIZED(at, b) (VOTED(0, at, b) + VOTED(1, at, b) + VOTED(2, at, b) >= NEEDED)
#define FINAL(at, b) ((v[0].finalized[at] == b) + (v[1].finalized[at] == b) + (v[2].finalized[at] == b) >= NEEDED)
#define NULLIFIED(at) (v[0].nullified[at] + v[1].nullified[at] + v[2].nullified[at] >= NEEDED)

byte r1, b1, r2, b2, r3, b3, k;
bool proven;

/* #sign: the one place that makes votes, and says nothing rather than contradict what was said. */
#ifdef NULLIFY_AFTER_FINALIZE
#define MAY_NULLIFY(i, at) true
#else
#define MAY_NULLIFY(i, at) (v[i].finalized[at] == 0)
#endif
#ifdef FINALIZE_AFTER_NULLIFY
#define MAY_FINALIZE(i, at) (v[i].finalized[at] == 0)
#else
#define MAY_FINALIZE(i, at) (v[i].finalized[at] == 0 && !v[i].nullified[at])
#endif

/* Is (r1, b1) an ancestor of (r2, b2), or the same? Left in proven. */
inline descends() {
  r3 = r2; b3 = b2;
  do
  :: r3 > r1 -> k = p[r3].parentRound[b3]; b3 = p[r3].parentBlock[b3]; r3 = k
  :: else -> break
  od;
  proven = (r3 == r1 && b3 == b1)
}

inline check() {
  r1 = 1;
  do
  :: r1 <= ROUNDS ->
    b1 = 1;
    do
    :: b1 <= 2 ->
      if
      :: FINAL(r1, b1) ->
        assert(!NULLIFIED(r1));
        r2 = r1;
        do
        :: r2 <= ROUNDS ->
          b2 = 1;
          do
          :: b2 <= 2 ->
            if
            :: FINAL(r2, b2) -> descends(); assert(proven)
            :: else
            fi;
            b2++
          :: else -> break
          od;
          r2++
        :: else -> break
        od
      :: else
      fi;
      b1++
    :: else -> break
    od;
    r1++
  :: else -> break
  od;
  r1 = 0; b1 = 0; r2 = 0; b2 = 0; r3 = 0; b3 = 0; k = 0; proven = false
}

/* #isJustified: the parent is notarized, and every round between is nullified. Left in proven. */
inline justified(at) {
  proven = (r1 == 0 || NOTARIZED(r1, b1));
#ifndef SKIP_WITHOUT_PROOF
  k = r1 + 1;
  do
  :: k < at -> proven = (proven && NULLIFIED(k)); k++
  :: else -> break
  od;
#endif
  k = 0
}

/* A leader proposes block b of a round on any parent that it can show the certificates for. */
inline propose(at, b) {
  select(r1 : 0 .. ROUNDS - 1);
  select(b1 : 1 .. 2);
  if
  :: r1 == 0 -> b1 = 1
  :: else
  fi;
  if
  :: r1 < at ->
    justified(at);
    if
    :: proven -> p[at].is[b] = true; p[at].parentRound[b] = r1; p[at].parentBlock[b] = (r1 == 0 -> 0 : b1)
    :: else
    fi
  :: else
  fi;
  r1 = 0; b1 = 0; proven = false
}

inline act(i) {
  k = v[i].round;
  if
  /* Its round's proposal is here, and it is the first: notarize, unless nullified (#onVerified). */
  :: k <= ROUNDS && p[k].is[1] && v[i].notarized[k] == 0 && !v[i].nullified[k] -> v[i].notarized[k] = 1
  :: k <= ROUNDS && p[k].is[2] && v[i].notarized[k] == 0 && !v[i].nullified[k] -> v[i].notarized[k] = 2
#ifdef NOTARIZE_TWICE
  :: k <= ROUNDS && p[k].is[1] && p[k].is[2] && v[i].notarized[k] > 0 && !v[i].nullified[k] -> v[i].notarized[k] = 3
#endif
  /* The timer, or others' nullify votes (#onTimeout, #countVotes). */
  :: k <= ROUNDS && !v[i].nullified[k] && MAY_NULLIFY(i, k) -> v[i].nullified[k] = true
  /* A certificate of this round or one ahead (#onNotarized, #advance). */
  :: select(r1 : 1 .. ROUNDS); select(b1 : 1 .. 2);
    if
    :: r1 >= k && NOTARIZED(r1, b1) ->
      if
      :: MAY_FINALIZE(i, r1) -> v[i].finalized[r1] = b1
      :: else
      fi;
      v[i].round = r1 + 1
    :: else
    fi
  :: select(r1 : 1 .. ROUNDS);
    if
    :: r1 >= k && NULLIFIED(r1) -> v[i].round = r1 + 1
    :: else
    fi
  fi;
  k = 0; r1 = 0; b1 = 0
}

byte who, r;

init {
  atomic {
    v[0].round = 1; v[1].round = 1; v[2].round = 1;
    r = 1;
    do
    :: r <= ROUNDS -> if :: liarLeads[r] = true :: liarLeads[r] = false fi; r++
    :: else -> break
    od;
    r = 0
  }
  do
  :: atomic { select(who : 0 .. HONEST - 1); act(who); check(); who = 0 }
  :: atomic {
      select(r : 1 .. ROUNDS);
      if
      :: !p[r].is[1] -> propose(r, 1)
      :: liarLeads[r] && p[r].is[1] && !p[r].is[2] -> propose(r, 2)
      :: else
      fi;
      r = 0
    }
  od
}
