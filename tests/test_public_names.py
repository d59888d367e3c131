"""Names that users import, or that a config or a weights file may mention, stay where they are."""

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import coprop_plugin
from coprop_plugin import registry, training

TOP = (
    "Clip CoProp ControlPoints CopropError FrameResult SegmentationResult list_audio_llms "
    "list_backends list_propagators list_providers naming unwrap wrap"
)
# Module -> names of it that the documentation and scripts use.
MODULES = {
    "registry": "MODELS DATASETS METRICS PROVIDERS AUDIO_LLMS build find names short_names",
    "errors": "CopropError AdapterError AdapterWarning AudioLLMError CheckpointError ClipError "
    "ControlPointError ControlPointParseError CutOffAnswerError DatasetError DeviceError "
    "LimitError MediaError MetricError MissingExtraError PropagationError ReportError "
    "TrainingError UnknownNameError WorkerError",
    "limits": "Limit PIXELS DURATION_S FRAMES CLIP_BYTES SAMPLE_RATE TEXT_BYTES WEIGHTS_BYTES",
    "types": "AudioLLM Clip ControlPointProvider ControlPoints FrameResult KeyframeBackend "
    "Propagator SegmentationResult UnpackedCall naming",
    "media": "MediaWarning ResultWriter export probe read_clip read_waveform save_result "
    "to_supervision write_clip write_overlay",
    "world": "Assets KINDS PhotographicClips PhotographicFrames PhotographicScene Scene "
    "SPLITS SceneObject TruthBackend made_up_scene segments_of",
    "report": "film_strip read_bench write_clips_page write_leaderboard write_report write_reports",
    "keyframes": "KeyframeProcessor SoundingObject load_keyframe_processor load_sounding_object "
    "save_keyframe_processor save_sounding_object",
    "propagation": "AudioInsertPropagator FlowPropagator HoldPropagator",
    "training": "CONFIGS FamilyTraining KeyframeTraining PropagatorTraining "
    "SoundingObjectTraining config_names evaluate read_config train with_assets with_sounds",
    "training.run": "CONFIGS config_names evaluate read_config train",
    "benchmark": "NamedProvider SoundScenes WorldOptions WorldSamples compare index_into",
    "benchmark.conformance": "ConformanceReport check_backend check_propagator check_provider",
    "benchmark.metrics": "AlignmentScores BoundaryScores ControlPointScores MaskScores Outcome "
    "SemanticScores aligned_frames avsbench_scores dataset_scores f_curves matched_control_points",
    "benchmark.datasets": "AVSDataset AVSS Keyframes MOC MS3 S4 Sample read_log_mel",
    "benchmark.plug_and_play": "Row default_rows plug_and_play",
    "benchmark.robust": "RobustSamples off_screen_of robust_scores write_robust",
    "batch": "Job Manifest Options Shard anchor_many find_inputs run_many",
    "cli": "app main",
    "audio.log_mel": "clip_log_mel log_mel log_mel_examples",
    "audio.vggish": "VGGish load_vggish",
    "pipeline": "CoProp redo",
    "control_points.providers": "CosineProvider EveryNProvider FlagsProvider OracleProvider",
    "control_points.strategies": "OneStepProvider ThreeStepProvider RCPGProvider",
    "control_points.parsing": "parse_flags flags_schema",
    "control_points.retrieval": "Store",
    "control_points.llm": "CallableAudioLLM OpenAICompatibleLLM QwenAudioLLM",
    "control_points.novelty": "NoveltyProvider",
    "control_points.sed": "ListenerProvider SoundEventProvider SpeechProvider",
    "open_vocabulary": "Finder Instance OpenVocabulary load_finder",
    "control_points.clap": "ClapProvider",
    "control_points.ensemble": "EnsembleProvider",
    "control_points.gate": "GateProvider",
    "control_points.file_provider": "FileProvider",
    "adapters.callable": "CallableBackend",
    "adapters.convert": "convert load_released load_state save_released",
    "adapters.mmseg": "MMSegBackend",
    "adapters.recognise": "find_backend",
    "adapters.registered": "FAMILIES",
    "adapters.released": "Family",
}
# Registry -> names under which configs and weights find something of ours, aliases included.
REGISTERED = {
    "MODELS": "AVSBiGenBackend AVSegFormer AVSegFormerBackend AudioInsertPropagator CATRBackend "
    "CAVPBackend COMBOBackend CallableBackend ChangeDetectorTraining CoProp FamilyTraining "
    "FlowPropagator VCTBackend combo vct "
    "AuralSAM2Backend auralsam2 "
    "GAVSBackend HoldPropagator SAMABackend SteppingStonesBackend cavp gavs sama stepping_stones "
    "KeyframeProcessor KeyframeTraining MMSegBackend PropagatorTraining SmallLogMelEncoder "
    "RefinedPropagator RefinerTraining refined "
    "EdgeTAMPropagator Sam2Propagator Sam3Propagator edgetam sam2 sam3 "
    "TPAVIBackend VGGish audio_insert avs_bigen avsegformer callable catr coprop flow "
    "hold keyframe_processor mmseg open_vocabulary small_log_mel sounding_object tpavi vggish "
    "SoundingObject SoundingObjectTraining",
    "DATASETS": "AVISeg AVSBenchMS3 AVSBenchS4 AVSS Keyframes MOC MS3 S4 SpriteClips TakingTurns "
    "InterleavedDataset PhotographicClips PhotographicFrames RefinerExamples SoundMixtures "
    "WorldClips WorldFrames WorldSeconds",
    "METRICS": "AlignmentMetric BoundaryMetric ControlPointMetric MaskMetric SemanticMetric",
    "FUNCTIONS": "affine_clips labelled_frames moved_clips sounding_clips",
    "HOOKS": "AverageWeights CalibrateChanges SeedEachStep",
    "PROVIDERS": "ChangeDetectorProvider ClapProvider CosineProvider EnsembleProvider "
    "EveryNProvider FileProvider FlagsProvider GateProvider NoveltyProvider OneStepProvider "
    "OracleProvider RCPGProvider SoundEventProvider ThreeStepProvider change_detector "
    "clap cosine ensemble every_n file flags gate listener novelty one_step oracle "
    "rcpg sed speech three_step",
    "AUDIO_LLMS": "CachedLLM CallableAudioLLM OpenAICompatibleLLM QwenAudioLLM cached callable "
    "openai_compatible qwen2_audio",
}


def test_the_package_has_its_13_names():
    assert coprop_plugin.__all__ == TOP.split()
    for name in TOP.split():
        assert getattr(coprop_plugin, name).__module__.startswith("coprop_plugin")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = coprop_plugin.nothing


def test_type_checkers_find_the_names_where_they_are():
    tree = ast.parse(Path(coprop_plugin.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and "TYPE" in ast.dump(node)]
    found = {a.name: (a.asname, one.module) for one in block.body for a in one.names}
    assert sorted(found) == coprop_plugin.__all__
    for name, (alias, module) in found.items():
        assert alias == name  # Else it is not exported, for `mypy --strict`.
        assert getattr(importlib.import_module(module), name) is getattr(coprop_plugin, name)
    assert Path(coprop_plugin.__file__).with_name("py.typed").is_file()


@pytest.mark.parametrize(("module", "names"), MODULES.items(), ids=list(MODULES))
def test_a_module_keeps_its_names(module, names):
    imported = importlib.import_module(f"coprop_plugin.{module}")
    assert [name for name in names.split() if not hasattr(imported, name)] == []


@pytest.mark.parametrize(("kind", "names"), REGISTERED.items(), ids=list(REGISTERED))
def test_a_registered_name_is_found(kind, names):
    # Configs import what is registered here before they name it.
    for module in pkgutil.iter_modules(training.__path__):
        importlib.import_module(f"coprop_plugin.training.{module.name}")
    for name in names.split():
        found = registry.find(getattr(registry, kind), f"coprop_plugin.{name}")
        assert found.__module__.startswith("coprop_plugin"), name
