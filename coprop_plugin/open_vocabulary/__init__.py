"""Eq. (2) by foundation models: what sounds, by name, and where it is in the picture."""

from coprop_plugin.open_vocabulary.backend import Among, ClipVocabulary, OpenVocabulary
from coprop_plugin.open_vocabulary.finder_loading import load_finder
from coprop_plugin.open_vocabulary.finders import BoxFinder, ClipSegFinder, Sam3Finder
from coprop_plugin.open_vocabulary.instances import Finder, Instance
from coprop_plugin.open_vocabulary.motion import sounding_instances
from coprop_plugin.open_vocabulary.phrase_boxes import GroundingDinoDetector, Owlv2Detector

__all__ = [
    "Among",
    "BoxFinder",
    "ClipSegFinder",
    "ClipVocabulary",
    "Finder",
    "GroundingDinoDetector",
    "Instance",
    "OpenVocabulary",
    "Owlv2Detector",
    "Sam3Finder",
    "load_finder",
    "sounding_instances",
]
