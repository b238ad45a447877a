export { ANOMALY_SUMMARY_VERSION, AnomalyDetector, type AnomalyDetectorOptions } from './anomaly-detector.ts'
export { ANOMALY_RULES, type AnomalyFeature, type AnomalyFinding, type AnomalyRule } from './anomaly-finding.ts'
export { CONDUCT, Conduct, type ConductKind, type ConductName, type ConductVerdict } from './conduct.ts'
export { ModelMalformed, SummaryMalformed } from './errors.ts'
export { FailedLogins, type FailedLoginsOptions } from './failed-logins.ts'
export {
  CLEAN_MIN,
  estimateFalsePositives,
  FalsePositiveWatch,
  GOOD_MIN,
  type JudgedRequest,
  type LooksLike,
  PAIRS_GOOD_MAX,
  type PairEstimate,
  type RouteEstimate,
  type WatchReport,
} from './false-positives.ts'
export { FloodMeter, type FloodReading, INSISTED_DEMAND, type SourceReading } from './flood-meter.ts'
export { type FloodFinding, type FloodLimits, Floods, type FloodsOptions } from './floods.ts'
export {
  IndicatorFileInvalid,
  IndicatorList,
  type IndicatorSink,
  readMispEvent,
  readStixBundle,
  readStixObject,
} from './indicators/indicator-files.ts'
export {
  type Indicator,
  IndicatorBuilder,
  type IndicatorMatch,
  type IndicatorParts,
  IndicatorSet,
  indicatorsOf,
} from './indicators/indicator-set.ts'
export { INSIDER_SUMMARY_VERSION, type InsiderSort } from './insider/insider-summary.ts'
export {
  type InsiderFinding,
  type InsiderLimits,
  Insiders,
  type InsidersOptions,
  type InsiderUse,
} from './insider/insiders.ts'
export { type Aggregation, type AggregationOptions, aggregate } from './model/aggregation.ts'
export { FEATURES, type FeatureVector, featuresOf, type ModelRequest } from './model/features.ts'
export {
  decodeWeights,
  type Explanation,
  encodeWeights,
  explainScore,
  noWeights,
  scoreOf,
  scoreRequest,
  type Weights,
} from './model/linear-model.ts'
export {
  areaUnderCurve,
  CLIP,
  Descender,
  type Descent,
  type Example,
  epsilonOf,
  type Gaussian,
  gaussianFrom,
  privateStep,
  rhoOf,
  StepAverage,
  TRAINING,
} from './model/training.ts'
export {
  type DetectionRule,
  DISTINCT_MEASURES,
  type DistinctMeasure,
  type Measure,
  RULE_KEYS,
  type RuleFinding,
  type RuleKey,
  type SignalFilter,
} from './rules/rule.ts'
export { RuleDetector, type RuleDetectorOptions } from './rules/rule-detector.ts'
export { RULE_SUMMARY_VERSION } from './rules/rule-summary.ts'
export { hashText, type Signal, type SignalPlace } from './signal.ts'
export { type SlowLoginFinding, SlowLogins } from './slow-logins.ts'
export type { SourceWords } from './source-set.ts'
export { SOURCE_SUMMARY_VERSION } from './source-summary.ts'
export { Tallies, type Tally } from './tallies.ts'
export { RADIUS_KM_USUAL } from './travel.ts'
export type { FailedLogin, FailedLoginLimits, Finding } from './types.ts'
