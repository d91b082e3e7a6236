"""What the top-level nodes of a config are to be built into; annotations of entry points."""

from typing import Annotated, Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger

from cast_exp.config import Builds
from cast_exp.data.base import RawDataModule
from cast_exp.evaluation import BaseEvaluation
from cast_exp.models import Backbone
from cast_exp.tasks import BaseTask

Node = Any  # the config of something to be built
CallbackNode = Annotated[Node, Builds(Callback)]
DataNode = Annotated[Node, Builds(RawDataModule)]
EvaluationNode = Annotated[Node, Builds(BaseEvaluation)]
LoggerNode = Annotated[Node, Builds(Logger)]
ModelNode = Annotated[Node, Builds(Backbone)]
TaskNode = Annotated[Node, Builds(BaseTask)]
TrainerNode = Annotated[Node, Builds(Trainer)]
