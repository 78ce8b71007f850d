"""What every message is made of: the frozen base, and the types of fields that several share."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MAX_SECONDS: Final = 10 * 366 * 86400  # ten years; what is meant to be longer is meant to have no limit
MAX_COUNT: Final = (1 << 63) - 1  # what a file's offset can be (off_t), and an integer of SQLite

Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS)]
# Adding 0.0 makes -0.0, which is not below 0 either, the one zero there is: every value has one spelling.
Grace = Annotated[float, Field(ge=0, le=MAX_SECONDS), AfterValidator(lambda seconds: seconds + 0.0)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
PositiveCount = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Name = Annotated[str, Field(min_length=1, max_length=255)]  # user and host names: HOST_NAME_MAX, LOGIN_NAME_MAX
RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
Stream: TypeAlias = Literal["stdin", "stdout", "stderr"]
Output: TypeAlias = Literal["stdout", "stderr"]
Offset = Count
SignalNumber = Annotated[int, Field(ge=1, le=64)]


class Message(BaseModel):
    """Base of all messages. `ordered` ones wait for their channel's queued data, the others overtake it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)
    ordered: ClassVar[bool] = False
    type: str
