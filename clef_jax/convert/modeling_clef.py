# SPDX-License-Identifier: Apache-2.0
# pyright: reportMissingImports=false
"""The encoder of a model folder for the library `transformers`; needs `pytorch_encoder.py` beside.

    from transformers import AutoFeatureExtractor, AutoModel

    extractor = AutoFeatureExtractor.from_pretrained("FOLDER", trust_remote_code=True)
    model = AutoModel.from_pretrained("FOLDER", trust_remote_code=True)
    outputs = model(**extractor(signal_mv, sampling_rate=250))
    embedding = outputs.pooler_output  # [N, D]

Give windows of the length in `preprocessor_config.json`; cut longer recordings into such windows
first. A head, which answers questions, is not read: `pytorch_encoder.load` reads it.

Shapes: N windows, C leads, T samples, n time steps, D embedding. Needs transformers 4.40 or newer
and what `pytorch_encoder.py` needs.
"""

from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import PretrainedConfig, PreTrainedModel
from transformers.feature_extraction_utils import BatchFeature, FeatureExtractionMixin
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .pytorch_encoder import Net1D, preprocess


class ClefConfig(PretrainedConfig):
    """`config.json` of the folder; `architecture` and `in_channels` describe the network."""

    model_type = "clef-net1d"


class ClefFeatureExtractor(FeatureExtractionMixin):
    """Preprocesses windows as `preprocessor_config.json` states."""

    model_input_names = ["input_values"]

    def __call__(self, signal_mv: Any, sampling_rate: float, **options: Any) -> BatchFeature:
        """Returns `input_values`, float32 [N, C, T'], of windows in millivolts.

        Args:
            signal_mv: [T], [N, T] or [N, C, T], array or tensor; not finite where missing.
            sampling_rate: sampling rate of the windows in Hz.
            options: ignored, such as `return_tensors`: the values are a tensor of PyTorch.

        Raises:
            ValueError: a window is too short, or its rate is out of range.
        """
        windows_mv = signal_mv if isinstance(signal_mv, torch.Tensor) else np.asarray(signal_mv)
        num_leads = windows_mv.shape[-2] if windows_mv.ndim == 3 else 1
        values = preprocess(windows_mv, sampling_rate, self.to_dict(), num_leads)
        return BatchFeature({"input_values": values.reshape(-1, num_leads, values.shape[-1])})


class ClefModel(PreTrainedModel):
    """Encoder of preprocessed windows, [N, C, T'] to [N, D]."""

    config_class = ClefConfig
    main_input_name = "input_values"
    base_model_prefix = ""

    def __init__(self, config: ClefConfig):
        super().__init__(config)
        shape = {**config.architecture, "input_affine": getattr(config, "input_affine", False)}
        network = Net1D(shape, config.in_channels)
        # The parameters have the names of the stored weights, without a name before them.
        self.first_conv, self.stage_list = network.first_conv, network.stage_list
        self.post_init()

    @classmethod
    def from_pretrained(cls, *arguments: Any, **options: Any) -> Any:
        """Returns the model of a folder; see `PreTrainedModel.from_pretrained`.

        Raises:
            ValueError: the weights are not those of the network in `config.json`; transformers
                would use random ones instead.
        """
        wanted = options.pop("output_loading_info", False)
        loaded = super().from_pretrained(*arguments, output_loading_info=True, **options)
        model, info = loaded
        for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            if info.get(problem):
                name = sorted(map(str, info[problem]))[0]
                raise ValueError(f"The weights do not fit config.json: {problem}, such as {name}.")
        return loaded if wanted else model

    def forward(
        self, input_values: torch.Tensor, return_dict: bool | None = True, **options: Any
    ) -> Any:
        """Returns the embedding and the outputs of all stages.

        Args:
            input_values: preprocessed windows, [N, C, T'].
            return_dict: whether to return named outputs, or else a tuple.
            options: ignored; gives what other models of the library also accept.

        Returns:
            `pooler_output`, the embedding [N, D]; `last_hidden_state`, the time steps of the last
            stage [N, n, D]; and `hidden_states`, the mean over time after each stage, [N, D_s].
        """
        x = functional.silu(self.first_conv(input_values.to(self.dtype)))
        means = []
        for stage in self.stage_list:
            x = stage(x)
            means.append(x.mean(-1))
        outputs = BaseModelOutputWithPooling(
            last_hidden_state=x.transpose(1, 2), pooler_output=means[-1], hidden_states=tuple(means)
        )
        return outputs if return_dict is not False else outputs.to_tuple()
