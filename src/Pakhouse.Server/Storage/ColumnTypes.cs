using System.Data;
using Dapper;

namespace Pakhouse.Server;

/// <summary>How the three types that neither database has are stored: ids as text, times as Unix milliseconds.</summary>
internal static class ColumnTypes
{
    public static void Register()
    {
        SqlMapper.RemoveTypeMap(typeof(Guid));
        SqlMapper.RemoveTypeMap(typeof(DateTimeOffset));
        SqlMapper.AddTypeHandler(new IdHandler());
        SqlMapper.AddTypeHandler(new TimeHandler());
        SqlMapper.AddTypeHandler(new RolesHandler());
        DefaultTypeMap.MatchNamesWithUnderscores = true;
    }

    private sealed class IdHandler : SqlMapper.TypeHandler<Guid>
    {
        public override Guid Parse(object value) => Guid.Parse((string)value);

        public override void SetValue(IDbDataParameter parameter, Guid value) =>
            (parameter.DbType, parameter.Value) = (DbType.String, value.ToString());
    }

    private sealed class TimeHandler : SqlMapper.TypeHandler<DateTimeOffset>
    {
        public override DateTimeOffset Parse(object value) => DateTimeOffset.FromUnixTimeMilliseconds((long)value);

        public override void SetValue(IDbDataParameter parameter, DateTimeOffset value) =>
            (parameter.DbType, parameter.Value) = (DbType.Int64, value.ToUnixTimeMilliseconds());
    }

    private sealed class RolesHandler : SqlMapper.TypeHandler<NameSet>
    {
        public override NameSet Parse(object value) => NameSet.OfColumn((string)value);

        public override void SetValue(IDbDataParameter parameter, NameSet? value) =>
            (parameter.DbType, parameter.Value) = (DbType.String, value?.ToString() ?? "");
    }
}
