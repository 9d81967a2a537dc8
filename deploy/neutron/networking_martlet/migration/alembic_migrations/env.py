"""Alembic's environment: as Neutron's, with a version table of its own."""

from alembic import context
from neutron.db.migration.connection import DBConnection
from neutron_lib.db import model_base

from networking_martlet import models

VERSION_TABLE = 'martlet_alembic_version'
OURS = {table.name for table in models.TABLES}
neutron_config = context.config.neutron_config


def include_object(thing, name, kind, reflected, compare_to):
    return kind != 'table' or name in OURS


def options():
    return {'version_table': VERSION_TABLE, 'include_object': include_object}


def run_offline():
    database = neutron_config.database
    target = {'url': database.connection} if database.connection else {'dialect_name': database.engine}
    context.configure(**target, **options())
    with context.begin_transaction():
        context.run_migrations()


def run_online():
    with DBConnection(neutron_config.database.connection, context.config.attributes.get('connection')) as connection:
        context.configure(connection=connection, target_metadata=model_base.BASEV2.metadata, **options())
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
