"""Video and audio files to clips, and masks back to files.

Files are read and written with PyAV (FFmpeg). `import coprop_plugin` does not import this package.
"""

from coprop_plugin.media.annotation_files import (
    AnnotationFormat,
    read_annotations,
    write_annotations,
)
from coprop_plugin.media.class_name_files import class_names
from coprop_plugin.media.coco import run_lengths
from coprop_plugin.media.container import MediaWarning, refuse_missing
from coprop_plugin.media.detections import to_supervision
from coprop_plugin.media.encode import write_clip
from coprop_plugin.media.export_result import FORMATS, ExportFormat, export
from coprop_plugin.media.folders import BARE, REPORT_NAMES, write_text
from coprop_plugin.media.frame_folder import FrameFolder, frame_paths
from coprop_plugin.media.json_lines import JsonLines
from coprop_plugin.media.mapped_file import ROWS_IN_MEMORY, stacked_rows
from coprop_plugin.media.masks import (
    avsbench_palette,
    open_image,
    picture_name,
    read_mask,
    read_painted_mask,
    write_masks,
)
from coprop_plugin.media.overlay import class_colours, paint, write_overlay
from coprop_plugin.media.previous_result import PreviousResult, content_digest
from coprop_plugin.media.read import (
    VideoInfo,
    open_video,
    open_video_at,
    probe,
    read_clip,
    read_frames,
)
from coprop_plugin.media.read_ahead import most_ahead, read_ahead
from coprop_plugin.media.replace_folder import folders_in, recover_folder, replace_folder
from coprop_plugin.media.result_folder import ResultWriter, save_result
from coprop_plugin.media.result_json import (
    is_result,
    read_about,
    read_manifest,
    source_of,
    tracks_of,
)
from coprop_plugin.media.soundtrack import read_waveform
from coprop_plugin.media.waveform_file import WaveformFile

__all__ = [
    "AnnotationFormat",
    "BARE",
    "ExportFormat",
    "FORMATS",
    "FrameFolder",
    "JsonLines",
    "MediaWarning",
    "PreviousResult",
    "REPORT_NAMES",
    "ROWS_IN_MEMORY",
    "ResultWriter",
    "VideoInfo",
    "WaveformFile",
    "avsbench_palette",
    "class_colours",
    "class_names",
    "content_digest",
    "export",
    "frame_paths",
    "folders_in",
    "is_result",
    "most_ahead",
    "open_image",
    "open_video",
    "open_video_at",
    "paint",
    "picture_name",
    "probe",
    "read_about",
    "read_ahead",
    "read_annotations",
    "read_clip",
    "read_frames",
    "read_manifest",
    "read_mask",
    "read_painted_mask",
    "read_waveform",
    "recover_folder",
    "refuse_missing",
    "replace_folder",
    "run_lengths",
    "save_result",
    "source_of",
    "stacked_rows",
    "to_supervision",
    "tracks_of",
    "write_annotations",
    "write_clip",
    "write_masks",
    "write_overlay",
    "write_text",
]
