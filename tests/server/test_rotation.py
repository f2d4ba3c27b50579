# SPDX-License-Identifier: Apache-2.0
"""New secrets: which of the two works, when, and that pending devices get nothing by either."""

from __future__ import annotations

import pytest

from keyfob.errors import ConfigError
from keyfob.server.rotation import MAX_OVERLAP
from keyfob.server.wishes import ApplicationWish, DeviceWish
from tests.server.world import World

pytestmark = pytest.mark.anyio


async def works(world: World, secret: str) -> bool:
    answer = await world.device_token("dev1", secret)
    assert answer.status_code in (200, 401)
    return answer.status_code == 200


async def works_by_password(world: World, secret: str) -> bool:
    answer = await world.token(
        grant_type="password", client_id="app", username="dev1", password=secret
    )
    return answer.status_code == 200


async def test_without_an_overlap_the_old_secret_stops_at_once(world: World) -> None:
    old = world.register.add_device("dev1").secret
    new = world.register.rotate_secret("dev1").secret
    assert (await works(world, old), await works(world, new)) == (False, True)


async def test_both_secrets_work_until_the_overlap_ends(world: World) -> None:
    world.register.add_application(ApplicationWish("app", public=True))
    old = world.register.add_device("dev1").secret
    new = world.register.rotate_secret("dev1", overlap=100).secret
    for _ in range(2):
        assert (await works(world, new), await works(world, old)) == (True, True)
        assert await works_by_password(world, old)
    world.clock.now += 100
    assert (await works(world, new), await works(world, old)) == (True, False)
    assert not await works_by_password(world, old)


@pytest.mark.parametrize("by_password", [False, True])
async def test_the_first_use_of_the_new_secret_ends_the_old_one_where_wished(
    world: World, by_password: bool
) -> None:
    world.register.add_application(ApplicationWish("app", public=True))
    use = works_by_password if by_password else works
    old = world.register.add_device("dev1").secret
    new = world.register.rotate_secret("dev1", overlap=100, until_used=True).secret
    assert await use(world, old)
    assert not await use(world, "kfs_wrong")
    assert await use(world, old)
    assert await use(world, new)
    assert not await use(world, old)
    assert await use(world, new)


async def test_a_disabled_device_uses_up_no_secret(world: World) -> None:
    old = world.register.add_device("dev1").secret
    new = world.register.rotate_secret("dev1", overlap=10_000, until_used=True).secret
    world.register.disable_device("dev1")
    assert not await works(world, new)
    world.register.enable_device("dev1")
    assert await works(world, old)


async def test_a_secret_is_used_where_it_let_its_device_in_whatever_is_answered(
    world: World,
) -> None:
    old = world.register.add_device("dev1").secret
    new = world.register.rotate_secret("dev1", overlap=10_000, until_used=True).secret
    refused = await world.device_token("dev1", new, scope="more-than-it-has")
    assert refused.json()["error"] == "invalid_scope"
    assert not await works(world, old)


async def test_rotating_again_leaves_two_secrets_and_no_third(world: World) -> None:
    first = world.register.add_device("dev1").secret
    second = world.register.rotate_secret("dev1", overlap=100).secret
    third = world.register.rotate_secret("dev1", overlap=100).secret
    assert [await works(world, each) for each in (first, second, third)] == [False, True, True]
    world.register.rotate_secret("dev1")
    assert [await works(world, each) for each in (first, second, third)] == [False] * 3


@pytest.mark.parametrize("overlap", [-1, MAX_OVERLAP + 1])
async def test_an_overlap_has_bounds(world: World, overlap: int) -> None:
    world.register.add_device("dev1")
    with pytest.raises(ConfigError):
        world.register.rotate_secret("dev1", overlap=overlap)


async def test_a_pending_device_gets_no_token_before_it_is_enabled(world: World) -> None:
    issued = world.register.add_device(DeviceWish("dev1", pending=True))
    assert issued.device.state == "pending"
    assert not await works(world, issued.secret)
    assert world.events[-1].reason == "client_pending"
    assert world.register.enable_device("dev1").state == "active"
    assert await works(world, issued.secret)


async def test_a_pending_device_that_is_disabled_is_disabled(world: World) -> None:
    world.register.add_device(DeviceWish("dev1", pending=True))
    assert world.register.disable_device("dev1").state == "disabled"
    assert world.register.list_devices()[0].state == "disabled"
