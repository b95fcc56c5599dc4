"""What PostgreSQL is told about wide columns, which no other database can be told.

Bodies are not compressed: they leave in seconds, and compressing costs four times what writing does. Columns that no
query compares need no statistics, for which ANALYZE would read and unpack them.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

NO_STATISTICS = (
    ("gateway_body", "content"),
    ("gateway_featurevector", "vector"),
    ("gateway_message", "symbols"),
    ("gateway_message", "trace"),
)


def tell(_apps: object, editor: BaseDatabaseSchemaEditor) -> None:
    _alter(editor, "EXTERNAL", 0)


def take_back(_apps: object, editor: BaseDatabaseSchemaEditor) -> None:
    _alter(editor, "EXTENDED", -1)


def _alter(editor: BaseDatabaseSchemaEditor, storage: str, statistics: int) -> None:
    if editor.connection.vendor != "postgresql":
        return
    editor.execute(f"ALTER TABLE gateway_body ALTER COLUMN content SET STORAGE {storage}")
    for table, column in NO_STATISTICS:
        editor.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS {statistics}")


class Migration(migrations.Migration):
    dependencies = (("gateway", "0001_initial"),)
    operations = (migrations.RunPython(tell, take_back),)
