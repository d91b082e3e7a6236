from omegaconf import DictConfig, OmegaConf

from cast_exp.config import read_keys, unread

CONFIG: DictConfig = OmegaConf.create(
    """
house:
  _target_: House
  door: ${door}
  roof: {tiles: "${shop.tiles}", slope: "${angle:${slope},2}"}
door: {colour: "${colours.red}", lock: null}
colours: {red: 1, blue: 2}
shop: {tiles: 3, nails: 4}
slope: 5
garden: {tree: "${house.door.lock}", colour: "${oc.select:colours.blue,none}"}
trainer: {devices: 1, epochs: 2}
scenes: {kept: 1}
"""
)


def test_references_are_followed_through_nodes_and_functions() -> None:
    assert read_keys(CONFIG, ["house"]) == {"house", "door", "colours.red", "shop.tiles", "slope"}
    assert read_keys(CONFIG, ["garden.colour"]) == {"garden.colour", "colours.blue"}


def test_what_is_below_a_reference_is_read_where_that_is() -> None:
    assert read_keys(CONFIG, ["garden.tree"]) == {"garden.tree", "house.door.lock", "door.lock"}


def test_typed_overrides_that_set_nothing_that_is_read() -> None:
    read = read_keys(CONFIG, ["house", "trainer.devices"])
    typed = ["house.door.lock=1", "house.new=1", "colours.red=2", "colours.blue=2", "colours=dark"]
    typed += ["door=wide", "+shop.x=1", "garden=big", "data@scenes=voc", "trainer.epochs=3"]
    typed += ["strategy=ddp", "precision=fp32", "experiment=x", "hydra.run.dir=x", "trainer=big"]
    expected = ["colours.blue=2", "+shop.x=1", "garden=big", "data@scenes=voc", "trainer.epochs=3"]
    assert unread(read, typed) == expected
    assert unread({"scenes"}, ["data@scenes=voc", "superpixel@scenes.superpixel=grid"]) == []
