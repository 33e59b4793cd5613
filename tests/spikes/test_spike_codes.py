"""One module for all spike codes."""

from pathlib import Path

import pytest

from pipeline.codec import modules
from pipeline.spikes import naf, spike_codes
from pipeline.stage import UserError

ROOM = Path(spike_codes.__file__).parent


def test_it_has_every_code_of_the_room_but_the_peers():
    own = {path.stem for path in ROOM.glob("*.py")} & set(modules())
    assert set(spike_codes.CODES) == own - {"spike_codes", "spike_peers"}


def test_a_code_is_that_of_its_own_module():
    assert spike_codes.build("naf_8", 3) == naf.build("naf_8", 3)
    assert type(spike_codes.build("temporal_sigma_delta_7", 0)).__module__.endswith("temporal_sigma_delta")


def test_other_names_are_refused():
    with pytest.raises(UserError, match=r"spike_codes has no codec 'sign'; its codes are rate, integrate_fire, "):
        spike_codes.build("sign", 0)
    with pytest.raises(UserError, match="naf has no codec 'naf_99'"):
        spike_codes.build("naf_99", 0)
